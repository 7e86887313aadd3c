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
      by                       request id of the last change of state, for retries
      rev                      rises with every change
      created updated started expires lifetime   ms; lifetime in ms, 0 is none
  P:events:{id}        stream  its history: s p ph m r h = state progress phase message reason host
  P:envs, P:envs:{o}   zset    ids of all, of an owner; scores 0, ids sort by time
  P:request:{o}:{k}    string  "id digest" of the submit under an owner's idempotency key, for a day
  P:ended              zset    id → when the record of a failed or deleted environment goes
  P:lifetimes          zset    id → when its lifetime ends
  P:queue:{shape}      zset    id → score of those that wait for any host
  P:shapes             zset    shape → score of its head, for non-empty queues
  P:pinned:{host}      zset    id → score of those that wait for the host with their storage
  P:queued             string  counts additions to the queue; a host that missed at n need not look again
  P:fair               hash    v:{priority} virtual time, f:{priority}:{owner} an owner's last finish tag
  P:host:{name}        hash    machine instance epoch beat lease state drain inventory
                               total_cpu total_ram total_storage, free_cpu free_ram free_storage free_gpus
                               over (1: more is allocated than there is), missed (P:queued at a miss)
                               claim_by claim_id (the last claim, for retries)
  P:hosts              zset    host → last beat
  P:allocs:{host}      hash    id → token|cpu|ram|storage|uuid,uuid
  P:taken:{host}       hash    GPU UUID → id
  P:todo:{host}        set     ids that the host must act on: claimed, stopping, deleting
  P:wake:{host}        list    at most one element; the host blocks on it
  P:room:cpu, :gpu     zset    ready hosts without, with free GPUs → free CPU
  P:room:{mib}|{model} zset    ready hosts with free GPUs of a class → how many
  P:classes            set     GPU classes ever seen, {mib}|{model}
  P:token              string  the last token or epoch; at least the time in µs, so that a restored
                               snapshot never issues one twice
  P:feed               pub/sub {"env", "id"} of every event

Errors begin with one word: NOTFOUND ILLEGAL STALE FENCED TAKEN CONFLICT BADARG.
]]

local MAX_ATTEMPTS = 3
local KEEP_DELETED_MS = 7 * 86400 * 1000
local KEEP_FAILED_MS = 30 * 86400 * 1000
local KEEP_REQUEST_SECONDS = 86400
local WAKE_CANDIDATES = 8
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

local function next_token(P)
  local last = tonumber(redis.call('GET', P .. ':token') or '0')
  local token = int(math.max(last + 1, time_us()))
  redis.call('SET', P .. ':token', token)
  return token
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

-- Set fields of a record, and write the event that tells of it.
local function change(P, id, env, fields, now)
  fields.updated = int(now)
  local flat = {}
  for name, value in pairs(fields) do
    env[name] = value
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  local key = P .. ':env:' .. id
  redis.call('HSET', key, unpack(flat))
  redis.call('HINCRBY', key, 'rev', 1)
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

-- the queue -------------------------------------------------------------------------------------

local function enqueue(P, id, env)
  if env.pin ~= '' then
    redis.call('ZADD', P .. ':pinned:' .. env.pin, env.score, id)
  else
    redis.call('ZADD', P .. ':queue:' .. env.shape, env.score, id)
    redis.call('ZADD', P .. ':shapes', 'LT', env.score, env.shape)
  end
  redis.call('INCR', P .. ':queued')
end

local function dequeue(P, id, env)
  if env.pin ~= '' then
    redis.call('ZREM', P .. ':pinned:' .. env.pin, id)
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

-- Start-time fair queueing: an environment starts, in virtual time, where its owner's last one ended,
-- but not before the present; so a burst lines up behind itself and not before others.
local function place(P, owner, priority, cost)
  local v_field, f_field = 'v:' .. priority, 'f:' .. priority .. ':' .. owner
  local tags = redis.call('HMGET', P .. ':fair', v_field, f_field)
  local start = math.max(tonumber(tags[1] or '0'), tonumber(tags[2] or '0'))
  redis.call('HSET', P .. ':fair', f_field, int(start + cost))
  return (9 - priority) * PRIORITY_STEP + start
end

local function move_virtual_time(P, env)
  local field, start = 'v:' .. env.priority, tonumber(env.score) % PRIORITY_STEP
  local v = tonumber(redis.call('HGET', P .. ':fair', field) or '0')
  if start > v then redis.call('HSET', P .. ':fair', field, int(start)) end
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

local function room_on(P, name, shape)
  local free = redis.call('HMGET', P .. ':host:' .. name, 'free_cpu', 'free_ram', 'free_storage')
  if not free[1] then return false end
  return has_room({ free_cpu = free[1], free_ram = free[2], free_storage = free[3] }, shape, shape.storage)
end

local function first_with_room(P, key, least, shape)
  for _, command in ipairs({ 'ZRANGEBYSCORE', 'ZREVRANGEBYSCORE' }) do
    local low, high = least, '+inf'
    if command == 'ZREVRANGEBYSCORE' then low, high = high, low end
    for _, name in ipairs(redis.call(command, key, low, high, 'LIMIT', 0, WAKE_CANDIDATES)) do
      if room_on(P, name, shape) then return name end
    end
  end
end

-- A ready host that could take this shape now: the tightest fit, GPUs left for those who need them.
local function find_host(P, shape)
  if shape.gpus == 0 then
    return first_with_room(P, P .. ':room:cpu', shape.cpu, shape) or first_with_room(P, P .. ':room:gpu', shape.cpu, shape)
  end
  local classes = {}
  for _, class in ipairs(redis.call('SMEMBERS', P .. ':classes')) do
    local mib, model = class:match('^(%d+)|(.*)$')
    local gpu = { memory_mib = tonumber(mib), model = model, healthy = true, class = class }
    if gpu_fits(gpu, shape) then classes[#classes + 1] = gpu end
  end
  table.sort(classes, function(a, b) return a.memory_mib < b.memory_mib end)
  for _, gpu in ipairs(classes) do
    local name = first_with_room(P, P .. ':room:' .. gpu.class, shape.gpus, shape)
    if name then return name end
  end
end

local function wake_for(P, env)
  local host = env.pin ~= '' and env.pin or find_host(P, shape_of(env.shape))
  if host then wake(P, host) end
end

-- The UUIDs to give: the smallest memory that suffices, and of that GPUs that are linked to each other.
local function pick_gpus(free, shape)
  if shape.gpus == 0 then return {} end
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
  local uuids = {}
  for i = 1, shape.gpus do uuids[i] = best[i].uuid end
  return uuids
end

-- allocations -----------------------------------------------------------------------------------

local function allocate(P, name, host, id, env, uuids, storage, request, now)
  local shape = shape_of(env.shape)
  local token, gpus = next_token(P), table.concat(uuids, ',')
  redis.call('HSET', P .. ':allocs:' .. name, id,
    table.concat({ token, int(shape.cpu), int(shape.ram), int(shape.storage), gpus }, '|'))
  for _, uuid in ipairs(uuids) do redis.call('HSET', P .. ':taken:' .. name, uuid, id) end
  host.free_cpu = int(host.free_cpu - shape.cpu)
  host.free_ram = int(host.free_ram - shape.ram)
  host.free_storage = int(host.free_storage - storage)
  host.free_gpus = int(host.free_gpus - #uuids)
  redis.call('HSET', P .. ':host:' .. name, 'free_cpu', host.free_cpu, 'free_ram', host.free_ram, 'free_storage',
    host.free_storage, 'free_gpus', host.free_gpus, 'claim_by', request, 'claim_id', id)
  index_room(P, name, host, #uuids > 0)
  redis.call('SADD', P .. ':todo:' .. name, id)
  change(P, id, env, { state = 'claimed', host = name, gpus = gpus, token = token, progress = '2', phase = '',
    reason = '', message = 'Reserved on ' .. name, by = request }, now)
end

-- Take an allocation away; `keep_storage` leaves its storage allocated (a stopped environment).
local function deallocate(P, name, id, env, keep_storage)
  redis.call('SREM', P .. ':todo:' .. name, id)
  redis.call('ZREM', P .. ':lifetimes', id)
  if keep_storage then
    local shape = shape_of(env.shape)
    redis.call('HSET', P .. ':allocs:' .. name, id, table.concat({ env.token, '0', '0', int(shape.storage), '' }, '|'))
  else
    redis.call('HDEL', P .. ':allocs:' .. name, id)
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
  redis.call('ZADD', P .. ':ended', now + keep, id)
  change(P, id, env, fields, now)
end

-- Back to the queue, at its old place, or failed after too many attempts.
local function give_back(P, name, id, env, reason, now)
  local attempt = tonumber(env.attempt) + 1
  local kept = env.pin ~= ''
  deallocate(P, name, id, env, kept)
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
    token = '0', gpus = '', host = kept and name or '', message = 'Waiting again' }, now)
  enqueue(P, id, env)
  wake_for(P, env)
end

-- Tell the host to act on an environment: stop or delete it.
local function order(P, id, env, fields, now)
  redis.call('ZREM', P .. ':lifetimes', id)
  change(P, id, env, fields, now)
  redis.call('SADD', P .. ':todo:' .. env.host, id)
  wake(P, env.host)
end

-- functions for clients -------------------------------------------------------------------------

-- submit id owner name contract shape priority cost lifetime_ms request digest → id
local function submit(keys, args)
  local P = keys[1]
  local id, owner, name, contract, shape, priority, cost, lifetime, request, digest = unpack(args)
  if not shape_of(shape) then return fail('BADARG', 'shape ' .. shape) end
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
  local now = time_ms()
  local env = { name = name, owner = owner, contract = contract, shape = shape, priority = priority, cost = cost,
    lifetime = lifetime, host = '', gpus = '', token = '0', pin = '', attempt = '1', created = int(now), started = '',
    expires = '' }
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
  change(P, id, env, { state = 'queued', progress = '0', phase = '', message = 'Waiting for a host with room', reason = '',
    by = '' }, now)
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
    score = score, by = '' }, now)
  enqueue(P, id, env)
  wake_for(P, env)
  return env.state
end

-- position id → how many wait before it, plus 1; 0 where it does not wait
local function position(keys, args)
  local P, id = keys[1], args[1]
  local env = redis.call('HMGET', P .. ':env:' .. id, 'state', 'score', 'pin', 'shape')
  if env[1] ~= 'queued' then return 0 end
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
  local host, now = load_host(P, name) or {}, time_ms()
  if host.instance == instance then
    redis.call('HSET', P .. ':host:' .. name, 'inventory', inventory)
  else
    local live = host.beat and now - tonumber(host.beat) < tonumber(host.lease)
    if live and host.machine ~= machine then
      return fail('TAKEN', 'host name ' .. name .. ' belongs to a live worker on another machine')
    end
    redis.call('HSET', P .. ':host:' .. name, 'machine', machine, 'instance', instance, 'lease', lease, 'inventory', inventory,
      'epoch', next_token(P), 'state', 'ready', 'drain', host.drain or '0', 'claim_by', '', 'claim_id', '')
  end
  redis.call('HSET', P .. ':host:' .. name, 'beat', int(now), 'state', 'ready')
  redis.call('ZADD', P .. ':hosts', now, name)
  local before = host.instance
  host = load_host(P, name)
  recompute(P, name, host)
  if before ~= instance then
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

local function job(id, env)
  return { id, env.name, env.owner, env.token, env.attempt, env.contract, env.gpus, env.pin }
end

-- The waiting environment that this host should take: its id, record and GPUs.
local function choose(P, name, host)
  local free = free_gpus(P, name, host_inventory(host))
  local pinned = redis.call('ZRANGE', P .. ':pinned:' .. name, 0, -1, 'WITHSCORES')
  local pinned_id, pinned_score, pinned_env, pinned_gpus
  for i = 1, #pinned, 2 do
    local env = load_env(P, pinned[i])
    local shape = shape_of(env.shape)
    local uuids = has_room(host, shape, 0) and pick_gpus(free, shape)
    if uuids then
      pinned_id, pinned_score, pinned_env, pinned_gpus = pinned[i], tonumber(pinned[i + 1]), env, uuids
      break
    end
  end
  local from, batch = 0, 8
  while true do
    local shapes = redis.call('ZRANGE', P .. ':shapes', from, from + batch - 1, 'WITHSCORES')
    for i = 1, #shapes, 2 do
      if pinned_id and pinned_score <= tonumber(shapes[i + 1]) then return pinned_id, pinned_env, pinned_gpus, 0 end
      local shape = shape_of(shapes[i])
      local uuids = has_room(host, shape, shape.storage) and #free >= shape.gpus and pick_gpus(free, shape)
      if uuids then
        local id = redis.call('ZRANGE', P .. ':queue:' .. shapes[i], 0, 0)[1]
        return id, load_env(P, id), uuids, shape.storage
      end
    end
    if #shapes < 2 * batch then return pinned_id, pinned_env, pinned_gpus, 0 end
    from, batch = from + batch, 64
  end
end

-- claim name epoch request → job (id name owner token attempt contract gpus pin) or nil
local function claim(keys, args)
  local P, name, epoch, request = keys[1], args[1], args[2], args[3]
  local host, err = authorise(P, name, epoch)
  if not host then return err end
  if host.claim_by == request then return job(host.claim_id, load_env(P, host.claim_id)) end
  if host.state ~= 'ready' or host.drain == '1' or host.over == '1' then return nil end
  local queued = redis.call('GET', P .. ':queued') or '0'
  if host.missed == queued then return nil end
  local id, env, uuids, storage = choose(P, name, host)
  if not id then
    redis.call('HSET', P .. ':host:' .. name, 'missed', queued)
    return nil
  end
  dequeue(P, id, env)
  if env.pin == '' then move_virtual_time(P, env) end
  allocate(P, name, host, id, env, uuids, storage, request, time_ms())
  return job(id, env)
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
  if state == 'building' then redis.call('SREM', P .. ':todo:' .. name, id) end
  if state == 'running' then
    fields.started, fields.pin = int(now), name
    if tonumber(env.lifetime) > 0 then
      fields.expires = int(now + env.lifetime)
      redis.call('ZADD', P .. ':lifetimes', fields.expires, id)
    end
  end
  if state == 'stopping' then redis.call('SADD', P .. ':todo:' .. name, id) end
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
  deallocate(P, name, id, env, state == 'stopped')
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
  for _, id in ipairs(redis.call('SMEMBERS', P .. ':todo:' .. name)) do
    local env = redis.call('HMGET', P .. ':env:' .. id, 'state', 'token')
    for _, value in ipairs({ id, env[1] or '', env[2] or '' }) do result[#result + 1] = value end
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
      if env.state == 'claimed' or env.state == 'stopping' or env.state == 'deleting' then
        redis.call('SADD', P .. ':todo:' .. name, id)
      end
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

-- expire limit → how many things it did: leases, lifetimes, records whose time is over
local function expire(keys, args)
  local P, limit, now, done = keys[1], tonumber(args[1]), time_ms(), 0
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', P .. ':hosts', '-inf', now - 1000, 'LIMIT', 0, 1000)) do
    local host = load_host(P, name)
    if host and host.state ~= 'lost' and now - tonumber(host.beat) > tonumber(host.lease) then
      host.state = 'lost'
      redis.call('HSET', P .. ':host:' .. name, 'state', 'lost')
      for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
        local env = load_env(P, id)
        if env and MAKING[env.state] then give_back(P, name, id, env, 'host_lost', now) end
      end
      recompute(P, name, host)
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
  return done
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
redis.register_function('@LIBRARY@_claim', claim)
redis.register_function('@LIBRARY@_advance', advance)
redis.register_function('@LIBRARY@_progress', progress)
redis.register_function('@LIBRARY@_release', release)
redis.register_function { function_name = '@LIBRARY@_todo', callback = todo, flags = { 'no-writes' } }
redis.register_function('@LIBRARY@_give_back', give_back_one)
redis.register_function('@LIBRARY@_reconcile', reconcile)
redis.register_function('@LIBRARY@_expire', expire)
redis.register_function { function_name = '@LIBRARY@_transitions', callback = transitions, flags = { 'no-writes' } }
redis.register_function { function_name = '@LIBRARY@_noop', callback = function() return 'OK' end, flags = { 'no-writes' } }
