#!lua name=@LIBRARY@
--[[
The ledger: all allocations and free capacities, and the queue. The one place that decides.

One Redis Functions library. Python puts a name made from this text in the place of the library's
name, so that old and new processes run side by side. KEYS[1] of every call is the prefix P; the other
keys are built from it (so not for Redis Cluster). Amounts: CPU in milli, RAM and storage in MiB.
Times are ms since the epoch by this server's clock, never a host's.

Keys, their types and meaning
  P:env:{id}           hash    the record of an environment
      name owner contract      as submitted; contract is JSON
      shape                    cpu:ram:storage:gpus:gpu_mib:gpu_model, what it needs
      priority score           its place: (9 - priority) * 2^49 + start tag; lower is earlier
      cost                     what it adds to its owner's virtual time
      state progress phase message reason
      host gpus token          of its allocation; gpus is a comma-separated list of UUIDs
      pin                      the host that holds its storage; "" before it ran or where it has none
      attempt                  1, and 1 more each time a host was lost while making it
      since                    when it last came to wait
      parked                   1: over its owner's quota, so in P:parked and not in the queue
      reserved                 the host that drains for it, "" is none
      by                       request id of the last change of state, for retries
      rev                      rises with every change
      created updated started expires   ms since the epoch, "" is not yet
      lifetime                 ms, 0 is none
  P:events:{id}        stream  its history: s p ph m r h = state progress phase message reason host
  P:envs, P:envs:{o}   zset    ids of all, of an owner; scores 0, ids sort by time
  P:request:{o}:{k}    string  "id digest" of the submit under an owner's idempotency key, for a day
  P:ended              zset    id → when the record of a failed or deleted environment goes
  P:lifetimes          zset    id → when its lifetime ends
  P:queue:{shape}      zset    id → score of those that wait for any host
  P:shapes             zset    shape → score of its head, for non-empty queues
  P:pinned:{host}      zset    id → score of those that wait for the host with their storage
  P:parked:{owner}     zset    id → score of those that wait for their owner to hold less
  P:queued             string  counts additions to the queue; a host that missed at n need not look again
  P:owners             hash    v:{priority} virtual time, f:{priority}:{owner} an owner's last finish tag,
                               u:{owner} what the owner's allocations hold, q:{owner} and q:* quotas; the last
                               two as environments|cpu|ram|gpus|storage, in a quota "" is no limit
  P:host:{name}        hash    machine instance epoch beat lease state drain inventory
                               free_cpu free_ram free_storage free_gpus
                               over (1: more is allocated than there is), missed (P:queued at a miss)
                               gpus (how many there are), pinned (1: perhaps somebody waits in P:pinned)
                               reserved (id of the environment that it drains for), kind (see P:kinds)
                               claim_by claim_id (the last claim, for retries)
  P:hosts              zset    host → last beat
  P:allocs:{host}      hash    id → token|cpu|ram|storage|uuid,uuid
  P:taken:{host}       hash    GPU UUID → id
  P:wake:{host}        list    at most one element; the host blocks on it
  P:room:cpu, :gpu     zset    ready hosts without, with free GPUs → free CPU
  P:room:{mib}|{model} zset    ready hosts with free GPUs of a class → how many
  P:classes            set     GPU classes ever seen, {mib}|{model}
  P:kinds              hash    what hosts have in all, cpu|ram|storage|class=count,... → how many such hosts
  P:swept              string  there while the last expire is recent
  P:config             hash    starve_ms, defer_ms where they differ from the constants below
  P:token              string  the last token or epoch; at least the time in µs, so that a restored
                               snapshot never issues one twice
  P:feed               pub/sub {"env", "id"} of every event

Errors begin with one word: NOTFOUND ILLEGAL STALE FENCED TAKEN CONFLICT BADARG NEVER.
]]

local MAX_ATTEMPTS = 3
local KEEP_DELETED_MS = 7 * 86400 * 1000
local KEEP_FAILED_MS = 30 * 86400 * 1000
local KEEP_REQUEST_SECONDS = 86400
local STARVE_MS = 10 * 60 * 1000 -- a head that waited this long gets a host that drains for it
local DEFER_MS = 5 * 1000        -- this long a host leaves an environment to another that fits it better
local WAKE_CANDIDATES = 8
local BACKFILL_DEPTH = 16        -- of one shape that may pass while a host drains
local EXPLAIN_HOSTS = 200
local PRIORITY_STEP = 2 ^ 49

-- state → the states that may follow; common/states.py has the picture
local NEXT = {
  queued = { claimed = true, failed = true, deleted = true, deleting = true },
  claimed = { building = true, queued = true, stopping = true, failed = true, deleting = true },
  building = { starting = true, queued = true, stopping = true, failed = true, deleting = true },
  starting = { running = true, queued = true, stopping = true, failed = true, deleting = true },
  running = { stopping = true, failed = true, deleting = true },
  stopping = { stopped = true, failed = true, deleting = true },
  stopped = { queued = true, failed = true, deleting = true },
  failed = { deleted = true, deleting = true },
  deleting = { deleted = true },
  deleted = {},
}
local MAKING = { claimed = true, building = true, starting = true }

-- small tools -----------------------------------------------------------------------------------

local function int(number)
  return string.format('%d', number)
end

local function fail(word, text)
  return redis.error_reply(word .. ' ' .. text)
end

local function time_us()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end

local function time_ms()
  return math.floor(time_us() / 1000)
end

local function next_token(P, us)
  local last = tonumber(redis.call('GET', P .. ':token') or '0')
  local token = int(math.max(last + 1, us))
  redis.call('SET', P .. ':token', token)
  return token
end

local function config(P, name, default)
  return tonumber(redis.call('HGET', P .. ':config', name) or default)
end

local function hash(key)
  local flat, result = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

-- parsed forms of texts that never change their meaning; dropped when they grow many
local function memo(parse)
  local known, count = {}, 0
  return function(text)
    local value = known[text]
    if value == nil then
      if count >= 4096 then known, count = {}, 0 end
      value = parse(text)
      known[text], count = value, count + 1
    end
    return value
  end
end

local shape_of = memo(function(text)
  local cpu, ram, storage, gpus, gpu_mib, model = text:match('^(%d+):(%d+):(%d+):(%d+):(%d+):(.*)$')
  if not cpu then return false end
  return { cpu = tonumber(cpu), ram = tonumber(ram), storage = tonumber(storage), gpus = tonumber(gpus),
           gpu_mib = tonumber(gpu_mib), model = model:lower() }
end)

local inventory_of = memo(function(text)
  return cjson.decode(text)
end)

-- the record and its history --------------------------------------------------------------------

local function append_event(P, id, env)
  local event = redis.call('XADD', P .. ':events:' .. id, '*', 's', env.state, 'p', env.progress, 'ph', env.phase,
    'm', env.message, 'r', env.reason, 'h', env.host)
  redis.call('PUBLISH', P .. ':feed', '{"env":"' .. id .. '","id":"' .. event .. '"}')
end

-- Set fields of a record, and write the event that tells of it. `env` holds at least rev and what the event tells.
local function change(P, id, env, fields, now)
  fields.updated = int(now)
  fields.rev = int((env.rev or 0) + 1)
  local flat = {}
  for name, value in pairs(fields) do
    env[name] = value
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', P .. ':env:' .. id, unpack(flat))
  append_event(P, id, env)
end

local function load_env(P, id)
  local env = hash(P .. ':env:' .. id)
  if not env.state then return nil end
  return env
end

local function wake(P, host)
  local key = P .. ':wake:' .. host
  if redis.call('LLEN', key) == 0 then redis.call('RPUSH', key, '1') end
end

-- owners: virtual time, usage, quotas -------------------------------------------------------------

local function parse_amounts(text)
  local amounts = {}
  for part in ((text or '') .. '|'):gmatch('(.-)|') do amounts[#amounts + 1] = tonumber(part) or false end
  return amounts
end

local function need_of(shape)
  return { 1, shape.cpu, shape.ram, shape.gpus, shape.storage }
end

-- Add `sign` times a need to what an owner holds.
local function add_usage(P, owner, need, sign)
  local usage = parse_amounts(redis.call('HGET', P .. ':owners', 'u:' .. owner))
  for i = 1, 5 do usage[i] = int(math.max((usage[i] or 0) + sign * need[i], 0)) end
  redis.call('HSET', P .. ':owners', 'u:' .. owner, table.concat(usage, '|'))
end

local QUOTA_WORDS = { 'environments', 'CPU', 'RAM', 'GPUs', 'storage' }

-- What of a need goes over an owner's quota, in words, or nil. `held` is what of the need the owner already holds.
local function over_quota(usage_text, own_quota, default_quota, need, held)
  local quota = own_quota or default_quota
  if not quota then return nil end
  local limits, usage, words = parse_amounts(quota), parse_amounts(usage_text), {}
  for i = 1, 5 do
    if limits[i] and (usage[i] or 0) + need[i] - (held and held[i] or 0) > limits[i] then words[#words + 1] = QUOTA_WORDS[i] end
  end
  return #words > 0 and table.concat(words, ', ') or nil
end

local function held_by_pin(env, shape)
  return env.pin ~= '' and { 1, 0, 0, 0, shape.storage } or nil
end

local function quota_problem(P, env)
  local shape = shape_of(env.shape)
  local t = redis.call('HMGET', P .. ':owners', 'u:' .. env.owner, 'q:' .. env.owner, 'q:*')
  return over_quota(t[1], t[2], t[3], need_of(shape), held_by_pin(env, shape))
end

-- Start-time fair queueing: an environment starts, in virtual time, where its owner's last one ended,
-- but not before the present; so a burst lines up behind itself and not before others.
local function place(P, owner, priority, cost)
  local v_field, f_field = 'v:' .. priority, 'f:' .. priority .. ':' .. owner
  local tags = redis.call('HMGET', P .. ':owners', v_field, f_field)
  local start = math.max(tonumber(tags[1] or '0'), tonumber(tags[2] or '0'))
  redis.call('HSET', P .. ':owners', f_field, int(start + cost))
  return (9 - priority) * PRIORITY_STEP + start
end

-- the queue -------------------------------------------------------------------------------------

local function enqueue(P, id, env)
  if env.pin ~= '' then
    redis.call('ZADD', P .. ':pinned:' .. env.pin, env.score, id)
    redis.call('HSET', P .. ':host:' .. env.pin, 'pinned', '1')
  else
    redis.call('ZADD', P .. ':queue:' .. env.shape, env.score, id)
    redis.call('ZADD', P .. ':shapes', 'LT', env.score, env.shape)
  end
  redis.call('INCR', P .. ':queued')
end

local function park(P, id, env, words, now)
  redis.call('ZADD', P .. ':parked:' .. env.owner, env.score, id)
  change(P, id, env, { parked = '1', reason = 'over_quota', message = 'Waiting until its owner holds less: over quota in ' .. words }, now)
end

local function dequeue(P, id, env)
  if env.parked == '1' then
    redis.call('ZREM', P .. ':parked:' .. env.owner, id)
    return
  end
  if env.pin ~= '' then
    local pinned = P .. ':pinned:' .. env.pin
    redis.call('ZREM', pinned, id)
    if redis.call('ZCARD', pinned) == 0 then redis.call('HSET', P .. ':host:' .. env.pin, 'pinned', '0') end
    return
  end
  local queue = P .. ':queue:' .. env.shape
  redis.call('ZREM', queue, id)
  local head = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', P .. ':shapes', head[2], env.shape)
  else
    redis.call('ZREM', P .. ':shapes', env.shape)
  end
end

-- The host that drained for an environment is free for others again.
local function unreserve(P, env)
  if (env.reserved or '') == '' then return end
  redis.call('HSET', P .. ':host:' .. env.reserved, 'reserved', '', 'missed', '')
end

-- hosts and their room --------------------------------------------------------------------------

local function host_inventory(host)
  return inventory_of(host.inventory)
end

local function gpu_class(gpu)
  return int(gpu.memory_mib) .. '|' .. gpu.model
end

-- A word such as "a100" names a model where it stands between other than letters and digits.
local model_fits = memo(function(pair)
  local word, model = pair:match('^(.-)\n(.*)$')
  if word == '' then return true end
  model = ' ' .. model:lower() .. ' '
  local from = 1
  while true do
    local first, last = model:find(word, from, true)
    if not first then return false end
    if not model:sub(first - 1, first - 1):match('%w') and not model:sub(last + 1, last + 1):match('%w') then
      return true
    end
    from = first + 1
  end
end)

local function gpu_fits(gpu, shape)
  return gpu.healthy and gpu.memory_mib >= shape.gpu_mib and model_fits(shape.model .. '\n' .. gpu.model)
end

local function free_gpus(P, name, inventory)
  if #inventory.gpus == 0 then return {} end
  local taken, free = hash(P .. ':taken:' .. name), {}
  for _, gpu in ipairs(inventory.gpus) do
    if gpu.healthy and not taken[gpu.uuid] then free[#free + 1] = gpu end
  end
  return free
end

-- Keep the indexes by which a waiting environment finds a host with room.
local function index_room(P, name, host, gpus_changed)
  local open = host.state == 'ready' and host.drain ~= '1' and host.over ~= '1'
  local with_gpus = tonumber(host.free_gpus) > 0
  local key = P .. ':room:' .. (with_gpus and 'gpu' or 'cpu')
  if open then redis.call('ZADD', key, host.free_cpu, name) else redis.call('ZREM', key, name) end
  if not gpus_changed then return end
  redis.call('ZREM', P .. ':room:' .. (with_gpus and 'cpu' or 'gpu'), name)
  local counts = {}
  for _, gpu in ipairs(free_gpus(P, name, host_inventory(host))) do
    local class = gpu_class(gpu)
    counts[class] = (counts[class] or 0) + 1
    redis.call('SADD', P .. ':classes', class)
  end
  for _, class in ipairs(redis.call('SMEMBERS', P .. ':classes')) do
    if open and counts[class] then
      redis.call('ZADD', P .. ':room:' .. class, counts[class], name)
    else
      redis.call('ZREM', P .. ':room:' .. class, name)
    end
  end
end

local function parse_alloc(text)
  local token, cpu, ram, storage, gpus = text:match('^(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
  return { token = token, cpu = tonumber(cpu), ram = tonumber(ram), storage = tonumber(storage), gpus = gpus }
end

-- Free = inventory - allocations, recomputed; with it the taken GPUs and the indexes.
local function recompute(P, name, host)
  local inventory = host_inventory(host)
  local cpu, ram, storage, over = inventory.cpu_milli, inventory.ram_mib, inventory.storage_mib, false
  local known, taken = {}, {}
  for _, gpu in ipairs(inventory.gpus) do known[gpu.uuid] = true end
  local allocs = redis.call('HGETALL', P .. ':allocs:' .. name)
  for i = 1, #allocs, 2 do
    local alloc = parse_alloc(allocs[i + 1])
    cpu, ram, storage = cpu - alloc.cpu, ram - alloc.ram, storage - alloc.storage
    for uuid in alloc.gpus:gmatch('[^,]+') do
      taken[#taken + 1] = uuid
      taken[#taken + 1] = allocs[i]
      if not known[uuid] then over = true end
    end
  end
  over = over or cpu < 0 or ram < 0 or storage < 0
  redis.call('DEL', P .. ':taken:' .. name)
  if #taken > 0 then redis.call('HSET', P .. ':taken:' .. name, unpack(taken)) end
  host.free_cpu, host.free_ram, host.free_storage = int(math.max(cpu, 0)), int(math.max(ram, 0)), int(math.max(storage, 0))
  host.free_gpus = int(#free_gpus(P, name, inventory))
  host.over = over and '1' or '0'
  redis.call('HSET', P .. ':host:' .. name, 'free_cpu', host.free_cpu, 'free_ram', host.free_ram, 'free_storage',
    host.free_storage, 'free_gpus', host.free_gpus, 'over', host.over, 'missed', '')
  index_room(P, name, host, true)
end

local function load_host(P, name)
  local host = hash(P .. ':host:' .. name)
  if not host.epoch then return nil end
  return host
end

-- The host, if the caller is its present worker process; else nil and the error to return.
local function authorise(P, name, epoch)
  local host = load_host(P, name)
  if not host then return nil, fail('NOTFOUND', 'host ' .. name .. ' is not registered') end
  if host.epoch ~= epoch then
    return nil, fail('FENCED', 'host ' .. name .. ' has a newer worker process (epoch ' .. host.epoch .. ')')
  end
  return host
end

local function has_room(host, shape, storage)
  return tonumber(host.free_cpu) >= shape.cpu and tonumber(host.free_ram) >= shape.ram
    and tonumber(host.free_storage) >= storage
end

-- Whether a host has room for a shape now, and nothing that it drains for.
local function room_on(P, name, shape)
  local free = redis.call('HMGET', P .. ':host:' .. name, 'free_cpu', 'free_ram', 'free_storage', 'reserved')
  if not free[1] or (free[4] or '') ~= '' then return false end
  return has_room({ free_cpu = free[1], free_ram = free[2], free_storage = free[3] }, shape, shape.storage)
end

local function first_with_room(P, key, least, shape, except)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, least, '+inf', 'LIMIT', 0, WAKE_CANDIDATES)) do
    if name ~= except and room_on(P, name, shape) then return name end
  end
  for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', key, '+inf', least, 'LIMIT', 0, WAKE_CANDIDATES)) do
    if name ~= except and room_on(P, name, shape) then return name end
  end
end

-- The GPU classes that suit a shape, smallest memory first.
local function classes_for(P, shape)
  local classes = {}
  for _, class in ipairs(redis.call('SMEMBERS', P .. ':classes')) do
    local mib, model = class:match('^(%d+)|(.*)$')
    local gpu = { memory_mib = tonumber(mib), model = model, healthy = true, class = class }
    if gpu_fits(gpu, shape) then classes[#classes + 1] = gpu end
  end
  table.sort(classes, function(a, b) return a.memory_mib < b.memory_mib end)
  return classes
end

-- A ready host that could take this shape now: the tightest fit, GPUs left for those who need them.
local function find_host(P, shape)
  if shape.gpus == 0 then
    return first_with_room(P, P .. ':room:cpu', shape.cpu, shape) or first_with_room(P, P .. ':room:gpu', shape.cpu, shape)
  end
  for _, gpu in ipairs(classes_for(P, shape)) do
    local name = first_with_room(P, P .. ':room:' .. gpu.class, shape.gpus, shape)
    if name then return name end
  end
end

-- Another ready host that suits a shape better than this one: without free GPUs where none are asked
-- for, with smaller GPUs where these suffice.
local function better_host(P, name, shape, memory_mib)
  if shape.gpus == 0 then return first_with_room(P, P .. ':room:cpu', shape.cpu, shape, name) end
  for _, gpu in ipairs(classes_for(P, shape)) do
    if gpu.memory_mib >= memory_mib then return nil end
    local other = first_with_room(P, P .. ':room:' .. gpu.class, shape.gpus, shape, name)
    if other then return other end
  end
end

local function wake_for(P, env)
  local host = env.pin
  if host == '' then host = find_host(P, shape_of(env.shape)) end
  if host then wake(P, host) end
end

-- The UUIDs to give: the smallest memory that suffices, and of that GPUs that are linked to each other.
local function pick_gpus(free, shape)
  if shape.gpus == 0 then return { memory_mib = 0 } end
  if #free < shape.gpus then return nil end
  local fitting, groups = {}, {}
  for _, gpu in ipairs(free) do
    if gpu_fits(gpu, shape) then
      fitting[#fitting + 1] = gpu
      local key = gpu_class(gpu) .. '|' .. int(gpu.island)
      groups[key] = groups[key] or {}
      table.insert(groups[key], gpu)
    end
  end
  if #fitting < shape.gpus then return nil end
  local best
  for key, group in pairs(groups) do
    if #group >= shape.gpus then
      local better = not best or group[1].memory_mib < best[1].memory_mib
        or (group[1].memory_mib == best[1].memory_mib and (#group < #best or (#group == #best and key < best.key)))
      if better then
        best = group
        best.key = key
      end
    end
  end
  if not best then
    best = fitting
    table.sort(best, function(a, b)
      if a.memory_mib ~= b.memory_mib then return a.memory_mib < b.memory_mib end
      if a.island ~= b.island then return a.island < b.island end
      return a.uuid < b.uuid
    end)
  end
  local uuids = { memory_mib = best[shape.gpus].memory_mib }
  for i = 1, shape.gpus do uuids[i] = best[i].uuid end
  return uuids
end

-- allocations -----------------------------------------------------------------------------------

-- Those of an owner that waited for quota and fit it now go back to the queue, in their order.
local function unpark(P, owner, now)
  local parked = redis.call('ZRANGE', P .. ':parked:' .. owner, 0, 99)
  if #parked == 0 then return end
  local t = redis.call('HMGET', P .. ':owners', 'u:' .. owner, 'q:' .. owner, 'q:*')
  local usage = parse_amounts(t[1])
  for i = 1, 5 do usage[i] = usage[i] or 0 end
  for _, id in ipairs(parked) do
    local env = load_env(P, id)
    local shape = shape_of(env.shape)
    local need, held = need_of(shape), held_by_pin(env, shape)
    if not over_quota(table.concat(usage, '|'), t[2], t[3], need, held) then
      for i = 1, 5 do usage[i] = usage[i] + need[i] - (held and held[i] or 0) end
      redis.call('ZREM', P .. ':parked:' .. owner, id)
      change(P, id, env, { parked = '', reason = '', message = 'Waiting for a host with room' }, now)
      enqueue(P, id, env)
      wake_for(P, env)
    end
  end
end

-- Take an allocation away; `keep_storage` leaves its storage allocated (a stopped environment).
local function deallocate(P, name, id, env, keep_storage, now)
  local key, shape = P .. ':allocs:' .. name, shape_of(env.shape)
  redis.call('ZREM', P .. ':lifetimes', id)
  local text = redis.call('HGET', key, id)
  if text then
    local alloc = parse_alloc(text)
    local _, gpus = alloc.gpus:gsub('[^,]+', '')
    if keep_storage then
      redis.call('HSET', key, id, table.concat({ env.token, '0', '0', int(shape.storage), '' }, '|'))
      add_usage(P, env.owner, { 0, alloc.cpu, alloc.ram, gpus, 0 }, -1)
    else
      redis.call('HDEL', key, id)
      add_usage(P, env.owner, { 1, alloc.cpu, alloc.ram, gpus, alloc.storage }, -1)
    end
    unpark(P, env.owner, now)
  end
  local host = load_host(P, name)
  if host then
    recompute(P, name, host)
    wake(P, name)
  end
end

local function finish(P, id, env, fields, now)
  local keep = fields.state == 'deleted' and KEEP_DELETED_MS or KEEP_FAILED_MS
  fields.token, fields.gpus, fields.pin, fields.expires, fields.phase = '0', '', '', '', ''
  fields.parked, fields.reserved = '', ''
  unreserve(P, env)
  redis.call('ZADD', P .. ':ended', now + keep, id)
  change(P, id, env, fields, now)
end

-- Back to the queue, at its old place, or failed after too many attempts.
local function give_back(P, name, id, env, reason, now)
  local attempt = tonumber(env.attempt) + 1
  local kept = env.pin ~= ''
  deallocate(P, name, id, env, kept, now)
  if attempt > MAX_ATTEMPTS then
    local message = 'Given up after ' .. MAX_ATTEMPTS .. ' attempts; the last ended with ' .. reason
    if kept then -- its files are on the host: nothing is thrown away, its user may start it again
      change(P, id, env, { state = 'stopping', reason = 'too_many_attempts', message = message, phase = '', by = '' }, now)
      change(P, id, env, { state = 'stopped', gpus = '', progress = '0' }, now)
    else
      finish(P, id, env, { state = 'failed', reason = 'too_many_attempts', message = message, by = '' }, now)
    end
    return
  end
  change(P, id, env, { state = 'queued', reason = reason, attempt = int(attempt), progress = '0', phase = '', by = '',
    token = '0', gpus = '', host = kept and name or '', message = 'Waiting again', since = int(now) }, now)
  enqueue(P, id, env)
  wake_for(P, env)
end

-- Tell the host to act on an environment: stop or delete it.
local function order(P, id, env, fields, now)
  redis.call('ZREM', P .. ':lifetimes', id)
  change(P, id, env, fields, now)
  wake(P, env.host)
end

-- What hosts have in all, and how many ------------------------------------------------------------

local kind_of = memo(function(text)
  local cpu, ram, storage, list = text:match('^(%d+)|(%d+)|(%d+)|(.*)$')
  local kind = { cpu = tonumber(cpu), ram = tonumber(ram), storage = tonumber(storage), gpus = {} }
  for mib, model, count in list:gmatch('(%d+):([^=]*)=(%d+);') do
    table.insert(kind.gpus, { memory_mib = tonumber(mib), model = model, healthy = true, count = tonumber(count) })
  end
  return kind
end)

local function kind_text(inventory)
  local counts, classes = {}, {}
  for _, gpu in ipairs(inventory.gpus) do
    local class = int(gpu.memory_mib) .. ':' .. gpu.model:gsub('[=;]', ' ')
    if not counts[class] then classes[#classes + 1] = class end
    counts[class] = (counts[class] or 0) + 1
  end
  table.sort(classes)
  for i, class in ipairs(classes) do classes[i] = class .. '=' .. counts[class] .. ';' end
  return table.concat({ int(inventory.cpu_milli), int(inventory.ram_mib),
    int(inventory.storage_limit ~= '' and inventory.storage_mib or 0), table.concat(classes) }, '|')
end

local function set_kind(P, name, before, kind)
  if before == kind then return end
  if before and before ~= '' and redis.call('HINCRBY', P .. ':kinds', before, -1) <= 0 then redis.call('HDEL', P .. ':kinds', before) end
  if kind ~= '' then redis.call('HINCRBY', P .. ':kinds', kind, 1) end
  redis.call('HSET', P .. ':host:' .. name, 'kind', kind)
end

local function gpus_of_kind(kind, shape)
  local count = 0
  for _, gpu in ipairs(kind.gpus) do
    if gpu_fits(gpu, shape) then count = count + gpu.count end
  end
  return count
end

local function kind_fits(kind, shape)
  return kind.cpu >= shape.cpu and kind.ram >= shape.ram and kind.storage >= shape.storage
    and gpus_of_kind(kind, shape) >= shape.gpus
end

-- Whether some host could hold the shape if it were empty; true where no host is known yet.
local function can_ever_fit(P, shape)
  local kinds = redis.call('HKEYS', P .. ':kinds')
  for _, text in ipairs(kinds) do
    if kind_fits(kind_of(text), shape) then return true end
  end
  return #kinds == 0
end

-- For a shape that fits no host: the host that comes nearest and what it has, as JSON.
local function nearest(P, shape)
  local best, best_missing
  for _, text in ipairs(redis.call('HKEYS', P .. ':kinds')) do
    local kind = kind_of(text)
    local gpus = gpus_of_kind(kind, shape)
    local missing = math.max(0, 1 - kind.cpu / shape.cpu) + math.max(0, 1 - kind.ram / shape.ram)
      + math.max(0, 1 - kind.storage / shape.storage) + (shape.gpus > 0 and 4 * math.max(0, 1 - gpus / shape.gpus) or 0)
    if not best or missing < best_missing then
      best_missing = missing
      best = { cpu_milli = math.min(kind.cpu, shape.cpu), ram_mib = math.min(kind.ram, shape.ram),
               storage_mib = math.min(kind.storage, shape.storage), gpus = math.min(gpus, shape.gpus) }
    end
  end
  return best and cjson.encode(best) or 'null'
end

-- functions for clients -------------------------------------------------------------------------

-- submit id owner name contract shape priority cost lifetime_ms request digest wait → id
local function submit(keys, args)
  local P = keys[1]
  local id, owner, name, contract, shape, priority, cost, lifetime, request, digest, wait = unpack(args)
  local need = shape_of(shape)
  if not need then return fail('BADARG', 'shape ' .. shape) end
  local request_key = P .. ':request:' .. owner .. ':' .. request
  if request ~= '' then
    local known = redis.call('GET', request_key)
    if known then
      local first, first_digest = known:match('^(%S+) (.*)$')
      if first_digest ~= digest then return fail('CONFLICT', 'this Idempotency-Key came with another body before') end
      return first
    end
  end
  if redis.call('EXISTS', P .. ':env:' .. id) == 1 then return id end
  if wait ~= '1' and not can_ever_fit(P, need) then return fail('NEVER', nearest(P, need)) end
  local now = time_ms()
  local env = { name = name, owner = owner, contract = contract, shape = shape, priority = priority, cost = cost,
    lifetime = lifetime, host = '', gpus = '', token = '0', pin = '', attempt = '1', created = int(now), started = '',
    expires = '', since = int(now), parked = '', reserved = '', state = 'queued', progress = '0', phase = '',
    message = 'Waiting for a host with room', reason = '', by = '', rev = '1', updated = int(now) }
  env.score = int(place(P, owner, tonumber(priority), tonumber(cost)))
  local flat = {}
  for field, value in pairs(env) do
    flat[#flat + 1] = field
    flat[#flat + 1] = value
  end
  redis.call('HSET', P .. ':env:' .. id, unpack(flat))
  redis.call('ZADD', P .. ':envs', 0, id)
  redis.call('ZADD', P .. ':envs:' .. owner, 0, id)
  if request ~= '' then redis.call('SET', request_key, id .. ' ' .. digest, 'EX', KEEP_REQUEST_SECONDS) end
  append_event(P, id, env)
  local words = quota_problem(P, env)
  if words then
    park(P, id, env, words, now)
    return id
  end
  enqueue(P, id, env)
  wake_for(P, env)
  return id
end

-- delete id → state
local function delete(keys, args)
  local P, id = keys[1], args[1]
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'environment ' .. id) end
  if env.state == 'deleted' or env.state == 'deleting' then return env.state end
  local now = time_ms()
  if env.state == 'queued' then dequeue(P, id, env) end
  if env.state == 'failed' or (env.state == 'queued' and env.pin == '') then
    finish(P, id, env, { state = 'deleted', message = 'Deleted', by = '' }, now)
  else
    order(P, id, env, { state = 'deleting', message = 'Being removed from ' .. env.host, phase = '', by = '' }, now)
  end
  return env.state
end

-- stop id reason → state
local function stop(keys, args)
  local P, id, reason = keys[1], args[1], args[2]
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'environment ' .. id) end
  if env.state == 'stopping' or env.state == 'stopped' then return env.state end
  if env.state ~= 'running' then return fail('ILLEGAL', 'it is ' .. env.state .. '; only a running environment can be stopped') end
  order(P, id, env, { state = 'stopping', reason = reason, message = 'Stopping', by = '' }, time_ms())
  return env.state
end

-- start id → state
local function start(keys, args)
  local P, id = keys[1], args[1]
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'environment ' .. id) end
  if env.state == 'queued' or MAKING[env.state] or env.state == 'running' then return env.state end
  if env.state ~= 'stopped' then return fail('ILLEGAL', 'it is ' .. env.state .. '; only a stopped environment can be started') end
  local now = time_ms()
  local score = int(place(P, env.owner, tonumber(env.priority), tonumber(env.cost)))
  change(P, id, env, { state = 'queued', reason = '', message = 'Waiting for room on ' .. env.pin, progress = '0', attempt = '1',
    score = score, since = int(now), by = '' }, now)
  local words = quota_problem(P, env)
  if words then
    park(P, id, env, words, now)
    return env.state
  end
  enqueue(P, id, env)
  wake_for(P, env)
  return env.state
end

-- set_quota owner quota; owner * is everyone without a quota of their own, quota "" takes it away
local function set_quota(keys, args)
  local P, owner, quota = keys[1], args[1], args[2]
  if quota == '' then redis.call('HDEL', P .. ':owners', 'q:' .. owner) else redis.call('HSET', P .. ':owners', 'q:' .. owner, quota) end
  for _, key in ipairs(owner == '*' and redis.call('HKEYS', P .. ':owners') or { 'u:' .. owner }) do
    local who = key:match('^u:(.*)$')
    if who then unpark(P, who, time_ms()) end
  end
  return 'OK'
end

-- position id → how many wait before it, plus 1; 0 where it does not wait
local function position(keys, args)
  local P, id = keys[1], args[1]
  local env = redis.call('HMGET', P .. ':env:' .. id, 'state', 'score', 'pin', 'shape', 'parked')
  if env[1] ~= 'queued' or env[5] == '1' then return 0 end
  local before = 0
  if env[3] ~= '' then before = redis.call('ZRANK', P .. ':pinned:' .. env[3], id) or 0 end
  for _, shape in ipairs(redis.call('ZRANGEBYSCORE', P .. ':shapes', '-inf', env[2])) do
    local queue = P .. ':queue:' .. shape
    before = before + (shape == env[4] and env[3] == '' and redis.call('ZRANK', queue, id)
      or redis.call('ZCOUNT', queue, '-inf', '(' .. env[2]))
  end
  return before + 1
end

-- functions for hosts ---------------------------------------------------------------------------

-- register name machine instance lease_ms inventory → epoch
local function register(keys, args)
  local P = keys[1]
  local name, machine, instance, lease, inventory = unpack(args)
  local known, now, key = load_host(P, name) or {}, time_ms(), P .. ':host:' .. name
  if known.instance ~= instance then
    local live = known.beat and now - tonumber(known.beat) < tonumber(known.lease)
    if live and known.machine ~= machine then
      return fail('TAKEN', 'host name ' .. name .. ' belongs to a live worker on another machine')
    end
    redis.call('HSET', key, 'machine', machine, 'instance', instance, 'lease', lease, 'epoch', next_token(P, time_us()),
      'drain', known.drain or '0', 'pinned', '1', 'reserved', known.reserved or '', 'claim_by', '', 'claim_id', '')
  end
  local decoded = inventory_of(inventory)
  redis.call('HSET', key, 'inventory', inventory, 'gpus', #decoded.gpus, 'beat', int(now), 'state', 'ready')
  redis.call('ZADD', P .. ':hosts', now, name)
  set_kind(P, name, known.kind, kind_text(decoded))
  local host = load_host(P, name)
  recompute(P, name, host)
  if known.instance ~= instance then
    for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
      local env = load_env(P, id)
      if env and MAKING[env.state] then give_back(P, name, id, env, 'worker_restarted', now) end
    end
  end
  return host.epoch
end

-- heartbeat name epoch → "ready" or "draining"
local function heartbeat(keys, args)
  local P, name = keys[1], args[1]
  local host, err = authorise(P, name, args[2])
  if not host then return err end
  local now = time_ms()
  redis.call('HSET', P .. ':host:' .. name, 'beat', int(now), 'state', 'ready')
  redis.call('ZADD', P .. ':hosts', now, name)
  if host.state ~= 'ready' then
    host.state = 'ready'
    recompute(P, name, host)
    wake(P, name)
  end
  return host.drain == '1' and 'draining' or 'ready'
end

-- drain name flag
local function drain(keys, args)
  local P, name, flag = keys[1], args[1], args[2]
  local host = load_host(P, name)
  if not host then return fail('NOTFOUND', 'host ' .. name) end
  host.drain = flag
  redis.call('HSET', P .. ':host:' .. name, 'drain', flag)
  recompute(P, name, host)
  if flag ~= '1' then wake(P, name) end
  return 'OK'
end

-- forget name: a host that is lost and holds nothing leaves the ledger
local function forget(keys, args)
  local P, name = keys[1], args[1]
  local host = load_host(P, name)
  if not host then return fail('NOTFOUND', 'host ' .. name) end
  if host.state ~= 'lost' or redis.call('HLEN', P .. ':allocs:' .. name) > 0 or redis.call('ZCARD', P .. ':pinned:' .. name) > 0 then
    return fail('ILLEGAL', 'host ' .. name .. ' is ' .. host.state .. ' or still holds environments; delete these first')
  end
  set_kind(P, name, host.kind, '')
  redis.call('DEL', P .. ':host:' .. name, P .. ':taken:' .. name, P .. ':wake:' .. name)
  redis.call('ZREM', P .. ':hosts', name)
  return 'OK'
end

local function job(id, env)
  return { id, env.name, env.owner, env.token, env.attempt, env.contract, env.gpus, env.pin }
end

-- When a host could begin a shape by the lifetimes of what it holds: ms, or nil where they do not say.
-- A lifetime that ends gives back all but the storage.
local function free_at(P, name, host, shape, now)
  local inventory = host_inventory(host)
  local kind = kind_of(kind_text(inventory))
  if not kind_fits(kind, shape) then return nil end
  local by_uuid, free, ends = {}, free_gpus(P, name, inventory), {}
  for _, gpu in ipairs(inventory.gpus) do by_uuid[gpu.uuid] = gpu end
  local cpu, ram, gpus = tonumber(host.free_cpu), tonumber(host.free_ram), 0
  for _, gpu in ipairs(free) do
    if gpu_fits(gpu, shape) then gpus = gpus + 1 end
  end
  local function enough() return cpu >= shape.cpu and ram >= shape.ram and gpus >= shape.gpus end
  if tonumber(host.free_storage) < shape.storage then return nil end
  if enough() then return now end
  local allocs = redis.call('HGETALL', P .. ':allocs:' .. name)
  for i = 1, #allocs, 2 do
    local env = redis.call('HMGET', P .. ':env:' .. allocs[i], 'expires', 'lifetime', 'state')
    local at = tonumber(env[1] or '')
    if not at and MAKING[env[3]] and tonumber(env[2]) > 0 then at = now + tonumber(env[2]) end
    if at then ends[#ends + 1] = { at = at, alloc = parse_alloc(allocs[i + 1]) } end
  end
  table.sort(ends, function(a, b) return a.at < b.at end)
  for _, item in ipairs(ends) do
    cpu, ram = cpu + item.alloc.cpu, ram + item.alloc.ram
    for uuid in item.alloc.gpus:gmatch('[^,]+') do
      if by_uuid[uuid] and gpu_fits(by_uuid[uuid], shape) then gpus = gpus + 1 end
    end
    if enough() then return math.max(item.at, now) end
  end
end

local CLAIM_HOST = { 'epoch', 'state', 'drain', 'over', 'missed', 'free_cpu', 'free_ram', 'free_storage', 'free_gpus',
  'claim_by', 'claim_id', 'gpus', 'pinned', 'reserved' }
local CLAIM_ENV = { 'name', 'owner', 'contract', 'shape', 'priority', 'score', 'pin', 'attempt', 'rev', 'lifetime',
  'reserved', 'since', 'state', 'parked' }

local function load_fields(key, names)
  local values, result = redis.call('HMGET', key, unpack(names)), {}
  for i, name in ipairs(names) do result[name] = values[i] or nil end
  return result
end

-- One look of a host at the queue: what it needs to judge a candidate, read when first needed.
local function new_look(P, name, host, now)
  local look = { P = P, name = name, host = host, now = now, deferred = false }
  function look.full_host()
    look.full = look.full or load_host(P, name)
    return look.full
  end
  function look.free()
    look.free_list = look.free_list or free_gpus(P, name, host_inventory(look.full_host()))
    return look.free_list
  end
  function look.reserved_start()
    if look.start == nil then
      local env = load_env(P, host.reserved)
      look.start = free_at(P, name, look.full_host(), shape_of(env.shape), now)
        or now + config(P, 'starve_ms', STARVE_MS)
    end
    return look.start
  end
  return look
end

-- The GPUs that this host would give to the shape now, or nil where it does not fit.
local function fit(look, shape, storage)
  if not has_room(look.host, shape, storage) then return nil end
  if shape.gpus == 0 then return { memory_mib = 0 } end
  if tonumber(look.host.free_gpus) < shape.gpus then return nil end
  return pick_gpus(look.free(), shape)
end

-- Whether an environment that fits may be taken here: not over quota, and not before the one that this
-- host drains for, unless its lifetime ends before that one could begin. The second value says that it
-- was parked, and so is no longer where it was.
local function may_take(look, id, env, shape)
  local reserved = look.host.reserved
  if reserved ~= '' and reserved ~= id then
    local lifetime = tonumber(env.lifetime)
    if lifetime == 0 or look.now + lifetime > look.reserved_start() then
      look.deferred = true -- another of the same shape may be short enough: no miss to remember
      return false
    end
  end
  local t = redis.call('HMGET', look.P .. ':owners', 'u:' .. env.owner, 'q:' .. env.owner, 'q:*', 'v:' .. env.priority)
  local held = held_by_pin(env, shape)
  local words = over_quota(t[1], t[2], t[3], need_of(shape), held)
  if words then
    dequeue(look.P, id, env)
    park(look.P, id, load_env(look.P, id), words, look.now)
    return false, true
  end
  local usage, need = parse_amounts(t[1]), need_of(shape)
  for i = 1, 5 do usage[i] = int((usage[i] or 0) + need[i] - (held and held[i] or 0)) end
  env.owner_usage, env.virtual_time = table.concat(usage, '|'), tonumber(t[4] or '0')
  return true
end

-- Leave an environment, for a moment, to a host that suits it better.
local function leave_to_better(look, shape, since, memory_mib)
  if shape.gpus == 0 and tonumber(look.host.free_gpus) == 0 then return false end
  local other = better_host(look.P, look.name, shape, memory_mib)
  if not other or look.now - since() > config(look.P, 'defer_ms', DEFER_MS) then return false end
  wake(look.P, other)
  look.deferred = true
  return true
end

local function choose_pinned(look)
  local P = look.P
  if look.host.pinned == '0' then return nil end
  for _, id in ipairs(redis.call('ZRANGE', P .. ':pinned:' .. look.name, 0, -1)) do
    local env = load_fields(P .. ':env:' .. id, CLAIM_ENV)
    local shape = shape_of(env.shape)
    local uuids = fit(look, shape, 0)
    if uuids and may_take(look, id, env, shape) then return { id = id, env = env, uuids = uuids, storage = 0, score = tonumber(env.score) } end
  end
end

local function choose_head(look, text)
  local P, shape = look.P, shape_of(text)
  local uuids = fit(look, shape, shape.storage)
  if not uuids then return nil end
  local rank = 0
  while rank < BACKFILL_DEPTH do
    local id = redis.call('ZRANGE', P .. ':queue:' .. text, rank, rank)[1]
    if not id then return nil end
    local env
    local function since()
      env = env or load_fields(P .. ':env:' .. id, CLAIM_ENV)
      return tonumber(env.since)
    end
    if leave_to_better(look, shape, since, uuids.memory_mib) then return nil end
    env = env or load_fields(P .. ':env:' .. id, CLAIM_ENV)
    local taken, parked = may_take(look, id, env, shape)
    if taken then return { id = id, env = env, uuids = uuids, storage = shape.storage } end
    if not parked then rank = rank + 1 end
  end
end

-- The waiting environment that this host should take.
local function choose(look)
  local P, host = look.P, look.host
  if host.reserved ~= '' then
    local env = load_fields(P .. ':env:' .. host.reserved, CLAIM_ENV)
    if env.state ~= 'queued' or env.parked == '1' or env.reserved ~= look.name then
      host.reserved = ''
      redis.call('HSET', P .. ':host:' .. look.name, 'reserved', '')
    else
      local shape = shape_of(env.shape)
      local uuids = fit(look, shape, shape.storage)
      if uuids and may_take(look, host.reserved, env, shape) then
        return { id = host.reserved, env = env, uuids = uuids, storage = shape.storage }
      end
    end
  end
  local pinned = choose_pinned(look)
  local from, batch = 0, 8
  while true do
    local shapes = redis.call('ZRANGE', P .. ':shapes', from, from + batch - 1, 'WITHSCORES')
    for i = 1, #shapes, 2 do
      if pinned and pinned.score <= tonumber(shapes[i + 1]) then return pinned end
      local found = choose_head(look, shapes[i])
      if found then return found end
    end
    if #shapes < 2 * batch then return pinned end
    from, batch = from + batch, 64
  end
end

local function allocate(look, found, request)
  local P, name, host, id, env, uuids = look.P, look.name, look.host, found.id, found.env, found.uuids
  local shape, now = shape_of(env.shape), look.now
  local token, gpus = next_token(P, look.us), table.concat(uuids, ',')
  redis.call('HSET', P .. ':allocs:' .. name, id,
    table.concat({ token, int(shape.cpu), int(shape.ram), int(shape.storage), gpus }, '|'))
  for _, uuid in ipairs(uuids) do redis.call('HSET', P .. ':taken:' .. name, uuid, id) end
  host.free_cpu = int(host.free_cpu - shape.cpu)
  host.free_ram = int(host.free_ram - shape.ram)
  host.free_storage = int(host.free_storage - found.storage)
  host.free_gpus = int(host.free_gpus - #uuids)
  redis.call('HSET', P .. ':host:' .. name, 'free_cpu', host.free_cpu, 'free_ram', host.free_ram, 'free_storage',
    host.free_storage, 'free_gpus', host.free_gpus, 'claim_by', request, 'claim_id', id)
  host.inventory = look.full and look.full.inventory
  index_room(P, name, host, #uuids > 0)
  local start = tonumber(env.score) % PRIORITY_STEP
  if env.pin == '' and start > env.virtual_time then
    redis.call('HSET', P .. ':owners', 'u:' .. env.owner, env.owner_usage, 'v:' .. env.priority, int(start))
  else
    redis.call('HSET', P .. ':owners', 'u:' .. env.owner, env.owner_usage)
  end
  unreserve(P, env)
  change(P, id, env, { state = 'claimed', host = name, gpus = gpus, token = token, progress = '2', phase = '', reserved = '',
    reason = '', message = 'Reserved on ' .. name, by = request }, now)
end

-- claim name epoch request → job (id name owner token attempt contract gpus pin) or nil
local function claim(keys, args)
  local P, name, epoch, request = keys[1], args[1], args[2], args[3]
  local host = load_fields(P .. ':host:' .. name, CLAIM_HOST)
  if host.epoch ~= epoch then
    local _, err = authorise(P, name, epoch)
    return err
  end
  if host.claim_by == request then return job(host.claim_id, load_env(P, host.claim_id)) end
  if host.state ~= 'ready' or host.drain == '1' or host.over == '1' then return nil end
  local queued = redis.call('GET', P .. ':queued') or '0'
  if host.missed == queued then return nil end
  local us = time_us()
  local look = new_look(P, name, host, math.floor(us / 1000))
  look.us = us
  local found = choose(look)
  if not found then
    if not look.deferred then redis.call('HSET', P .. ':host:' .. name, 'missed', queued) end
    return nil
  end
  dequeue(P, found.id, found.env)
  allocate(look, found, request)
  return job(found.id, found.env)
end

-- The record, if the caller holds its allocation; else nil and the error to return.
local function held(P, name, epoch, id, token)
  local host, err = authorise(P, name, epoch)
  if not host then return nil, err end
  local env = load_env(P, id)
  if not env then return nil, fail('NOTFOUND', 'environment ' .. id) end
  if env.host ~= name or env.token ~= token then
    return nil, fail('STALE', 'environment ' .. id .. ' has another allocation than token ' .. token), env
  end
  return env
end

-- advance name epoch id token state phase progress message reason request → state
local function advance(keys, args)
  local P = keys[1]
  local name, epoch, id, token, state, phase, progress, message, reason, request = unpack(args)
  local env, err = held(P, name, epoch, id, token)
  if not env then return err end
  if env.state == state and env.by == request then return state end
  if not NEXT[env.state][state] or state == 'queued' or state == 'failed' or state == 'deleted' or state == 'stopped' then
    return fail('ILLEGAL', 'from ' .. env.state .. ' to ' .. state)
  end
  local now = time_ms()
  local fields = { state = state, phase = phase, progress = progress, message = message, reason = reason, by = request }
  if state == 'running' then
    fields.started, fields.pin = int(now), name
    if tonumber(env.lifetime) > 0 then
      fields.expires = int(now + env.lifetime)
      redis.call('ZADD', P .. ':lifetimes', fields.expires, id)
    end
  end
  change(P, id, env, fields, now)
  return state
end

-- progress name epoch id token phase progress message → state
local function progress(keys, args)
  local P = keys[1]
  local name, epoch, id, token, phase, value, message = unpack(args)
  local env, err = held(P, name, epoch, id, token)
  if not env then return err end
  if not MAKING[env.state] then return fail('ILLEGAL', 'it is ' .. env.state) end
  local at_least = int(math.max(tonumber(env.progress), tonumber(value)))
  if env.phase == phase and env.progress == at_least and env.message == message then return env.state end
  change(P, id, env, { phase = phase, progress = at_least, message = message }, time_ms())
  return env.state
end

-- release name epoch id token state reason message request → state; state is failed, stopped or deleted
local function release(keys, args)
  local P = keys[1]
  local name, epoch, id, token, state, reason, message, request = unpack(args)
  local env, err, stale = held(P, name, epoch, id, token)
  if not env then
    if stale and stale.by == request then return stale.state end
    return err
  end
  if env.state == state and env.by == request then return state end
  if not NEXT[env.state][state] or not (state == 'failed' or state == 'stopped' or state == 'deleted') then
    return fail('ILLEGAL', 'from ' .. env.state .. ' to ' .. state)
  end
  local now = time_ms()
  deallocate(P, name, id, env, state == 'stopped', now)
  if state == 'stopped' then
    change(P, id, env, { state = state, reason = reason, message = message, phase = '', gpus = '', expires = '', pin = name,
      progress = '0', by = request }, now)
  else
    finish(P, id, env, { state = state, reason = reason, message = message, by = request }, now)
  end
  return state
end

-- todo name epoch → id state token, for everything that the host must act on
local function todo(keys, args)
  local P, name = keys[1], args[1]
  local host, err = authorise(P, name, args[2])
  if not host then return err end
  local result = {}
  for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
    local env = redis.call('HMGET', P .. ':env:' .. id, 'state', 'token')
    if env[1] == 'claimed' or env[1] == 'stopping' or env[1] == 'deleting' then
      for _, value in ipairs({ id, env[1], env[2] }) do result[#result + 1] = value end
    end
  end
  return result
end

-- give_back name epoch id token reason → state; what this host cannot go on making waits again
local function give_back_one(keys, args)
  local P = keys[1]
  local name, epoch, id, token, reason = unpack(args)
  local env, err = held(P, name, epoch, id, token)
  if not env then return err end
  if not MAKING[env.state] then return fail('ILLEGAL', 'it is ' .. env.state) end
  give_back(P, name, id, env, reason, time_ms())
  return env.state
end

-- reconcile name epoch [id token]... → JSON {orphans, missing, making}: running containers of the host against its
-- allocations. orphans: ids of containers without an allocation here; missing: ids that should run and were not
-- found; making: ids that some thread of the host should be working on.
local function reconcile(keys, args)
  local P, name = keys[1], args[1]
  local host, err = authorise(P, name, args[2])
  if not host then return err end
  local found, orphans, missing, making = {}, {}, {}, {}
  for i = 3, #args, 2 do found[args[i]] = args[i + 1] end
  local allocs = hash(P .. ':allocs:' .. name)
  for id, text in pairs(allocs) do
    local alloc, env = parse_alloc(text), load_env(P, id)
    if not env or env.host ~= name or env.token ~= alloc.token or env.state == 'failed' or env.state == 'deleted' then
      redis.call('HDEL', P .. ':allocs:' .. name, id)
      allocs[id] = nil
    else
      if env.state == 'building' or env.state == 'starting' then making[#making + 1] = id end
      if env.state == 'running' and found[id] ~= env.token then missing[#missing + 1] = id end
    end
  end
  for id, token in pairs(found) do
    local alloc = allocs[id] and parse_alloc(allocs[id])
    if not alloc or alloc.token ~= token then orphans[#orphans + 1] = id end
  end
  recompute(P, name, host)
  local function list(items) return #items > 0 and cjson.encode(items) or '[]' end
  return '{"orphans":' .. list(orphans) .. ',"missing":' .. list(missing) .. ',"making":' .. list(making) .. '}'
end

-- Let hosts drain for the heads that waited too long: for each the host that can begin it first.
local function reserve(P, now)
  local starve = config(P, 'starve_ms', STARVE_MS)
  local done = 0
  for _, text in ipairs(redis.call('ZRANGE', P .. ':shapes', 0, 63)) do
    local id = redis.call('ZRANGE', P .. ':queue:' .. text, 0, 0)[1]
    local env = redis.call('HMGET', P .. ':env:' .. id, 'since', 'reserved')
    if now - tonumber(env[1]) > starve and (env[2] or '') == '' then
      local shape, best, best_at, best_count = shape_of(text), nil, nil, nil
      for _, name in ipairs(redis.call('ZREVRANGE', P .. ':hosts', 0, 499)) do
        local host = load_host(P, name)
        if host.state == 'ready' and host.drain ~= '1' and host.over ~= '1' and (host.reserved or '') == ''
            and kind_fits(kind_of(host.kind), shape) then
          local at, count = free_at(P, name, host, shape, now), redis.call('HLEN', P .. ':allocs:' .. name)
          if not best or (at and (not best_at or at < best_at)) or (not at and not best_at and count < best_count) then
            best, best_at, best_count = name, at, count
          end
        end
      end
      if best then
        redis.call('HSET', P .. ':host:' .. best, 'reserved', id, 'missed', '')
        redis.call('HSET', P .. ':env:' .. id, 'reserved', best)
        wake(P, best)
        done = done + 1
      end
    end
  end
  return done
end

-- expire limit interval_ms → how many things it did: leases, lifetimes, reservations, records whose time is
-- over; nothing where it was done less than interval_ms ago
local function expire(keys, args)
  local P, limit, interval, now = keys[1], tonumber(args[1]), tonumber(args[2]), time_ms()
  if interval > 0 and not redis.call('SET', P .. ':swept', '1', 'NX', 'PX', interval) then return 0 end
  local done = 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. ':hosts', '-inf', now - 1000, 'LIMIT', 0, limit)) do
    local host = load_host(P, name)
    if host and host.state ~= 'lost' and now - tonumber(host.beat) > tonumber(host.lease) then
      host.state = 'lost'
      redis.call('HSET', P .. ':host:' .. name, 'state', 'lost')
      for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
        local env = load_env(P, id)
        if env and MAKING[env.state] then give_back(P, name, id, env, 'host_lost', now) end
      end
      unreserve(P, { reserved = name })
      recompute(P, name, load_host(P, name))
      done = done + 1
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ':lifetimes', '-inf', now, 'LIMIT', 0, limit)) do
    local env = load_env(P, id)
    redis.call('ZREM', P .. ':lifetimes', id)
    if env and env.state == 'running' then
      order(P, id, env, { state = 'stopping', reason = 'lifetime_over', message = 'Its lifetime is over', by = '' }, now)
      done = done + 1
    end
  end
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ':ended', '-inf', now, 'LIMIT', 0, limit)) do
    local owner = redis.call('HGET', P .. ':env:' .. id, 'owner') or ''
    redis.call('DEL', P .. ':env:' .. id, P .. ':events:' .. id)
    redis.call('ZREM', P .. ':envs', id)
    redis.call('ZREM', P .. ':envs:' .. owner, id)
    redis.call('ZREM', P .. ':ended', id)
    done = done + 1
  end
  return done + reserve(P, now)
end

-- What one host lacks for a shape: a table for JSON. `storage` is what it must still find room for.
local function lacks(P, name, host, shape, storage, now)
  local short, inventory = {}, host_inventory(host)
  local function compare(what, need, free)
    if need > free then short[#short + 1] = { what = what, need = need, free = free, short = need - free } end
  end
  compare('cpu_milli', shape.cpu, tonumber(host.free_cpu))
  compare('ram_mib', shape.ram, tonumber(host.free_ram))
  compare('storage_mib', storage, tonumber(host.free_storage))
  local gpus = 0
  for _, gpu in ipairs(free_gpus(P, name, inventory)) do
    if gpu_fits(gpu, shape) then gpus = gpus + 1 end
  end
  compare('gpus', shape.gpus, gpus)
  local result = { host = name, state = host.drain == '1' and host.state == 'ready' and 'draining' or host.state,
    ever = kind_fits(kind_of(host.kind), shape), overcommitted = host.over == '1', short = short, held_by = {},
    reserved_for = host.reserved ~= '' and host.reserved or nil }
  if result.ever and #short > 0 then
    local at = free_at(P, name, host, shape, now)
    result.free_at = at and int(at) or nil
    local allocs = redis.call('HGETALL', P .. ':allocs:' .. name)
    for i = 1, math.min(#allocs, 100), 2 do
      local alloc = parse_alloc(allocs[i + 1])
      local env = redis.call('HMGET', P .. ':env:' .. allocs[i], 'owner', 'expires')
      local _, count = alloc.gpus:gsub('[^,]+', '')
      result.held_by[#result.held_by + 1] = { id = allocs[i], owner = env[1], expires = env[2] ~= '' and env[2] or nil,
        cpu_milli = alloc.cpu, ram_mib = alloc.ram, storage_mib = alloc.storage, gpus = count }
    end
  end
  return result
end

-- explain id shape owner → JSON: why it waits and until when. With id "" it judges a shape that nobody submitted.
--   verdict now | wait | never; position, parked (words of a quota, or none), estimate (ms, or none), hosts, nearest
local function explain(keys, args)
  local P, id, text, owner = keys[1], args[1], args[2], args[3]
  local env = id ~= '' and load_env(P, id) or nil
  if id ~= '' and not env then return fail('NOTFOUND', 'environment ' .. id) end
  env = env or { shape = text, owner = owner, pin = '', state = 'queued', priority = '5' }
  local shape = shape_of(env.shape)
  if not shape then return fail('BADARG', 'shape ' .. text) end
  local now, fits, ever, estimate, hosts = time_ms(), false, false, nil, {}
  local names = env.pin ~= '' and { env.pin } or redis.call('ZREVRANGE', P .. ':hosts', 0, -1)
  for i, name in ipairs(names) do
    local host = load_host(P, name)
    local item = lacks(P, name, host, shape, env.pin ~= '' and 0 or shape.storage, now)
    local open = item.state == 'ready' and not item.overcommitted
    if open and #item.short == 0 and (not item.reserved_for or item.reserved_for == id) then fits = true end
    if item.ever then ever = true end
    if open and item.free_at then estimate = math.min(estimate or math.huge, tonumber(item.free_at)) end
    if #item.short == 0 then item.short = nil end
    if #item.held_by == 0 then item.held_by = nil end
    if i <= EXPLAIN_HOSTS then hosts[#hosts + 1] = item end
  end
  local result = { state = env.state, owner = env.owner, hosts = #hosts > 0 and hosts or nil,
    parked = env.state == 'queued' and quota_problem(P, env) or nil,
    position = id ~= '' and position(keys, { id }) or nil, estimate = estimate and int(estimate) or nil }
  if result.parked then
    result.verdict = 'wait'
  elseif fits then
    result.verdict = 'now'
  elseif ever or #names == 0 then
    result.verdict = 'wait'
  else
    result.verdict = 'never'
    local near = nearest(P, shape)
    if near ~= 'null' then result.nearest = cjson.decode(near) end
  end
  return cjson.encode(result)
end

local function transitions()
  return cjson.encode(NEXT)
end

redis.register_function('@LIBRARY@_submit', submit)
redis.register_function('@LIBRARY@_delete', delete)
redis.register_function('@LIBRARY@_stop', stop)
redis.register_function('@LIBRARY@_start', start)
redis.register_function { function_name = '@LIBRARY@_position', callback = position, flags = { 'no-writes' } }
redis.register_function('@LIBRARY@_register', register)
redis.register_function('@LIBRARY@_heartbeat', heartbeat)
redis.register_function('@LIBRARY@_drain', drain)
redis.register_function('@LIBRARY@_forget', forget)
redis.register_function('@LIBRARY@_set_quota', set_quota)
redis.register_function('@LIBRARY@_claim', claim)
redis.register_function('@LIBRARY@_advance', advance)
redis.register_function('@LIBRARY@_progress', progress)
redis.register_function('@LIBRARY@_release', release)
redis.register_function { function_name = '@LIBRARY@_todo', callback = todo, flags = { 'no-writes' } }
redis.register_function('@LIBRARY@_give_back', give_back_one)
redis.register_function('@LIBRARY@_reconcile', reconcile)
redis.register_function('@LIBRARY@_expire', expire)
redis.register_function { function_name = '@LIBRARY@_explain', callback = explain, flags = { 'no-writes' } }
redis.register_function { function_name = '@LIBRARY@_transitions', callback = transitions, flags = { 'no-writes' } }
redis.register_function { function_name = '@LIBRARY@_noop', callback = function() return 'OK' end, flags = { 'no-writes' } }
