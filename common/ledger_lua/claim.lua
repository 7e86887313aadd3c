-- The claim: the first waiting environment that fits, its GPUs, its capacity and its token, in one step.

local CLAIM_HOST = { 'epoch', 'open', 'free_cpu', 'free_ram', 'free_storage', 'free_gpus', 'free', 'gpu_cpu', 'classes',
  'kind', 'reserved', 'pinned', 'claim_by', 'claim_id' }
local CLAIM_ENV = { 'name', 'owner', 'priority', 'cost', 'pin', 'attempt', 'lifetime', 'since', 'reserved',
  'origin' }
local WAITING_ENV = { 'name', 'owner', 'priority', 'cost', 'pin', 'attempt', 'lifetime', 'since', 'reserved', 'shape', 'score', 'state',
  'parked', 'origin' }
local NONE = {}

-- One look of a host at the queue: what is free on it; time, GPUs and `start` are read when they are first needed.
local function new_look(P, name, host)
  return { P = P, name = name, host = host, deferred = false, parked = 0, cpu = tonumber(host.free_cpu),
    ram = tonumber(host.free_ram), storage = tonumber(host.free_storage), gpus = tonumber(host.free_gpus),
    gpu_cpu = tonumber(host.gpu_cpu) }
end

local function now_of(look)
  look.now = look.now or time_ms()
  return look.now
end

local function free_gpus_of(look)
  look.free = look.free or parse_gpus(look.host.free)
  return look.free
end

-- When the environment that this host drains for could begin.
local function reserved_start(look)
  if not look.start then
    local P, now = look.P, now_of(look)
    local env = load_fields(P .. ':env:' .. look.host.reserved, { 'shape', 'pin' })
    local shape = shape_of(env.shape)
    look.start = shape and free_at(P, look.name, load_host(P, look.name), shape, env.pin ~= '' and 0 or shape.storage, now)
      or now + config(P, 'starve_ms', STARVE_MS)
  end
  return look.start
end

-- The GPUs that this host would give to the shape now, or nil where it does not fit or is not known here. What waits for its
-- storage here has that, and its system too.
local function fit(look, shape, has_storage)
  if not shape or look.cpu < shape.cpu or look.ram < shape.ram then return nil end
  if not has_storage and (look.storage < shape.storage or not makes_system(kind_of(look.host.kind), shape)) then return nil end
  if shape.gpus == 0 then return NONE end
  if look.gpus < shape.gpus then return nil end
  return pick_gpus(free_gpus_of(look), shape)
end

-- Whether it would hold up the environment that this host drains for.
local function in_the_way(look, id, env)
  local reserved = look.host.reserved
  if reserved == '' or reserved == id then return false end
  local lifetime = tonumber(env.lifetime)
  return lifetime == 0 or now_of(look) + lifetime > reserved_start(look)
end

-- What its owner holds, or nil where this one would be too much; then it is parked.
local function affordable(look, id, env)
  local own = standing(look.P, env.owner, env.priority)
  local words = own.quota and over_quota(own.usage, own.quota, need_of(env))
  if not words then return own end
  put_aside(look.P, id, words)
  look.parked = look.parked + 1
  return nil
end

-- Leave an environment, for a moment, to a host that suits it better.
local function leave_to_better(look, shape, env, picked)
  if shape.gpus == 0 and look.gpus == 0 then return false end
  local other = better_host(look.P, look.name, look, shape, picked)
  if not other or now_of(look) - tonumber(env.since) > config(look.P, 'defer_ms', DEFER_MS) then return false end
  wake(look.P, other)
  look.deferred = true
  return true
end

-- The one that this host drains for, if it can begin.
local function choose_reserved(look)
  local id = look.host.reserved
  if id == '' then return nil end
  local env = load_fields(look.P .. ':env:' .. id, WAITING_ENV)
  local own = affordable(look, id, env)
  if not own then
    look.host.reserved = ''
    return nil
  end
  local shape, pinned = shape_of(env.shape), env.pin ~= ''
  local picked = fit(look, shape, pinned)
  return picked and { id = id, env = env, shape = shape, picked = picked, storage = pinned and 0 or shape.storage, own = own }
end

-- Whether a host should drain for one that waits for its storage there: it has waited too long, and could begin there.
local function should_drain(look, env, shape)
  if look.host.reserved ~= '' or now_of(look) - tonumber(env.since) <= config(look.P, 'starve_ms', STARVE_MS) then return false end
  look.whole = look.whole or load_fields(look.P .. ':host:' .. look.name, { 'kind', 'gpus' })
  return could_begin(look.whole, shape, true)
end

-- The first of those that wait for the storage on this host. One that waited too long gets the host drained.
local function choose_pinned(look)
  local P = look.P
  if look.host.pinned == '0' then return nil end
  for _, id in ipairs(redis.call('ZRANGE', P .. ':pinned:' .. look.name, 0, -1)) do
    local env = load_fields(P .. ':env:' .. id, WAITING_ENV)
    local shape = shape_of(env.shape)
    local picked = fit(look, shape, true)
    if picked and in_the_way(look, id, env) then
      look.deferred = true
    elseif picked then
      local own = affordable(look, id, env)
      if own then
        return { id = id, env = env, shape = shape, picked = picked, storage = 0, own = own, score = tonumber(env.score) }
      end
    elseif should_drain(look, env, shape) then
      set_reserved(P, id, look.name)
      look.host.reserved = id
    end
  end
end

-- The first of a shape that may be taken here.
local function choose_of_shape(look, text)
  local P, shape = look.P, shape_of(text)
  local picked = fit(look, shape, false)
  if not picked then return nil end
  local rank = 0
  while rank < BACKFILL_DEPTH do
    local heads = redis.call('ZRANGE', P .. ':queue:' .. text, rank, rank + 1, 'WITHSCORES')
    local id = heads[1]
    if not id then return nil end
    local env = load_fields(P .. ':env:' .. id, CLAIM_ENV)
    env.shape, env.score, env.state = text, heads[2], 'queued'
    if leave_to_better(look, shape, env, picked) then return nil end
    if in_the_way(look, id, env) then
      look.deferred = true -- another of the same shape may be short enough: no miss to remember
      rank = rank + 1
    elseif look.parked == PARKS_A_CLAIM then
      look.deferred = true
      wake(P, look.name)
      return nil
    else
      local own = affordable(look, id, env)
      if own then
        return { id = id, env = env, shape = shape, picked = picked, storage = shape.storage, own = own,
          head = rank == 0, next_score = heads[4] }
      end
    end
  end
end

-- Somebody else may have room for what does not fit here.
local function pass_on(look)
  for _, text in ipairs(redis.call('ZRANGE', look.P .. ':shapes', 0, PASS_ON_SHAPES - 1)) do
    local other = find_host(look.P, shape_of(text), look.name)
    if other then wake(look.P, other) end
  end
end

-- The waiting environment that this host should take.
local function choose(look)
  local found = choose_reserved(look)
  if found then return found end
  local pinned = choose_pinned(look)
  local from, count = 0, 2
  while true do
    local shapes, parked = redis.call('ZRANGE', look.P .. ':shapes', from, from + count - 1, 'WITHSCORES'), look.parked
    for i = 1, #shapes, 2 do
      if pinned and pinned.score <= tonumber(shapes[i + 1]) then return pinned end
      found = choose_of_shape(look, shapes[i])
      if found then return found end
    end
    if #shapes < 2 * count and look.parked == parked then return pinned end
    if look.parked == parked then from = from + count end -- else shapes may have left, and others moved up
    count = 64
  end
end

-- Take out of the queue what was found; its record was read, and its shape's next head.
local function take_out(P, id, found)
  local env = found.env
  if not found.head then return dequeue(P, id, env) end
  redis.call('ZREM', P .. ':queue:' .. env.shape, id)
  set_head(P, env.shape, found.next_score)
end

-- Take GPUs from what is free on a host; their UUIDs.
local function take_gpus(look, picked)
  if #picked == 0 then return '' end
  local taken, uuids, left, entries = {}, {}, {}, {}
  for i, gpu in ipairs(picked) do
    taken[gpu.uuid] = true
    uuids[i] = gpu.uuid
  end
  for _, gpu in ipairs(free_gpus_of(look)) do
    if not taken[gpu.uuid] then
      left[#left + 1] = gpu
      entries[#entries + 1] = gpu.entry
    end
  end
  look.host.free, look.host.free_gpus = table.concat(entries), int(#left)
  index_classes(look.P, look.name, look.host, left)
  redis.call('HSET', look.P .. ':host:' .. look.name, 'free', look.host.free, 'free_gpus', look.host.free_gpus,
    'classes', look.host.classes)
  return table.concat(uuids, ',')
end

local function allocate(look, found, request, claimed)
  local P, name, host, id, env, shape = look.P, look.name, look.host, found.id, found.env, found.shape
  take_out(P, id, found)
  if env.reserved ~= '' then unreserve(P, id) end
  local gpus = take_gpus(look, found.picked)
  host.free_cpu, host.free_ram = int(look.cpu - shape.cpu), int(look.ram - shape.ram)
  host.free_storage = int(look.storage - found.storage)
  redis.call('HSET', P .. ':host:' .. name, 'free_cpu', host.free_cpu, 'free_ram', host.free_ram, 'free_storage',
    host.free_storage, 'claim_by', request, 'claim_id', claimed)
  index_cpu(P, name, host, look.gpus > 0)

  env.state, env.host, env.gpus, env.progress, env.phase, env.reason = 'claimed', name, gpus, '2', '', ''
  env.message = 'Reserved on ' .. name
  local event = append_event(P, id, env)
  env.token = token_after(found.own.token, tonumber(event:match('^%d+')))
  redis.call('HSET', P .. ':env:' .. id, 'state', env.state, 'host', name, 'gpus', gpus, 'token', env.token, 'progress', '2',
    'phase', '', 'reason', '', 'message', env.message, 'by', request, 'event', event)
  redis.call('HSET', P .. ':allocs:' .. name, id, alloc_text(env.token, shape.cpu, shape.ram, shape.storage, gpus))

  -- virtual time goes on by no more than what was given: one that overtakes its owner's waiting ones, because it is small,
  -- would take it to the end of these, and everybody else's next one behind them
  local start, before, usage = tonumber(env.score) % PRIORITY_STEP, found.own.virtual_time, sum(found.own.usage, need_of(env), 1)
  if env.pin == '' and start > before then
    redis.call('HSET', P .. ':ledger', 'u:' .. env.owner, usage, 'token', env.token,
      'v:' .. env.priority, int(math.min(start, before + tonumber(env.cost))))
  else
    redis.call('HSET', P .. ':ledger', 'u:' .. env.owner, usage, 'token', env.token)
  end
end

local function job(P, id, env)
  return { id, env.name, env.owner, env.token, env.attempt, redis.call('GET', P .. ':contract:' .. id), env.gpus, env.pin,
    env.origin or '' }
end

-- Those of a claim's jobs that nothing has happened to since: the answer to one that is repeated.
local function jobs_again(P, name, host, request)
  local jobs = {}
  for id in host.claim_id:gmatch('[^,]+') do
    local env = load_env(P, id)
    if env and env.by == request and env.host == name then jobs[#jobs + 1] = job(P, id, env) end
  end
  return jobs
end

-- What this host should take now, and the look that found it; nil where there is nothing, and whether there may be soon.
local function find_one(P, name, host)
  if host.open ~= '1' then return nil end
  local look = new_look(P, name, host)
  local found = choose(look)
  if found then return found, look end
  pass_on(look)
  return nil, nil, look.deferred
end

-- claim name epoch request most [message] → jobs (each id name owner token attempt contract gpus pin origin) or nil. For
-- each its host is sent the message, with the id for @env@ and the token for @token@: none is claimed and not told of.
local function claim(P, name, epoch, request, most, message)
  most = integer(most, 1, CLAIMS_A_CALL)
  if not most then return bad('a claim takes 1 to ' .. int(CLAIMS_A_CALL) .. ' at once') end
  local memo = redis.call('MGET', P .. ':missed:' .. name, P .. ':queued')
  local queued = epoch .. ' ' .. (memo[2] or '0')
  if memo[1] == queued then return nil end
  local host = load_fields(P .. ':host:' .. name, CLAIM_HOST)
  local err = refusal(name, host.epoch, epoch)
  if err then return err end
  local jobs, ids = {}, {}
  if host.claim_by == request then jobs, most = jobs_again(P, name, host, request), 0 end
  for i = 1, most do
    local found, look, deferred = find_one(P, name, host)
    if not found then
      -- one that gave something may be repeated, and must not be answered by the memo
      if i == 1 and not deferred then redis.call('SET', P .. ':missed:' .. name, queued) end
      break
    end
    ids[i] = found.id
    allocate(look, found, request, table.concat(ids, ','))
    jobs[i] = job(P, found.id, found.env)
    if message then
      local values = { env = found.id, token = found.env.token }
      redis.call('LPUSH', P .. ':celery:host.' .. name, (message:gsub('@(%l+)@', values)))
    end
    if i < most then host = load_fields(P .. ':host:' .. name, CLAIM_HOST) end
  end
  return #jobs > 0 and jobs or nil
end
