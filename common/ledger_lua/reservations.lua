-- Reservations: a host that drains for a head that waited too long.

-- When what an allocation has comes free, as far as it is known: ms, or nil. Of what is being made, counted from its
-- claim, when its token was given: counted from now it would put off the same end again and again.
local function end_of(env, alloc, now)
  if env.state == 'stopping' or env.state == 'deleting' then return now end
  if env.expires ~= '' then return tonumber(env.expires) end
  if not MAKING[env.state] or env.lifetime == '0' then return nil end
  return math.min(now, math.floor(tonumber(alloc.token) / 1000)) + tonumber(env.lifetime)
end

-- When a host could begin a shape by the lifetimes of what it holds: ms, or nil where they do not say. A lifetime that
-- ends gives back all but the storage; `storage` is what must be free of it.
local function free_at(P, name, host, shape, storage, now)
  local suits, gpus = {}, 0
  for _, gpu in ipairs(parse_gpus(host.gpus)) do suits[gpu.uuid] = gpu_fits(gpu, shape) end
  for _, gpu in ipairs(parse_gpus(host.free)) do
    if suits[gpu.uuid] then gpus = gpus + 1 end
  end
  local cpu, ram, room = tonumber(host.free_cpu), tonumber(host.free_ram), tonumber(host.free_storage)
  local function enough() return cpu >= shape.cpu and ram >= shape.ram and room >= storage and gpus >= shape.gpus end
  if enough() then return now end
  local allocs, ends = redis.call('HGETALL', P .. ':allocs:' .. name), {}
  for i = 1, #allocs, 2 do
    local env, alloc = load_fields(P .. ':env:' .. allocs[i], { 'expires', 'lifetime', 'state' }), parse_alloc(allocs[i + 1])
    local at = end_of(env, alloc, now)
    if at then ends[#ends + 1] = { at = at, alloc = alloc, storage = env.state == 'deleting' and alloc.storage or 0 } end
  end
  table.sort(ends, function(a, b) return a.at < b.at end)
  for _, item in ipairs(ends) do
    cpu, ram, room = cpu + item.alloc.cpu, ram + item.alloc.ram, room + item.storage
    for uuid in item.alloc.gpus:gmatch('[^,]+') do
      if suits[uuid] then gpus = gpus + 1 end
    end
    if enough() then return math.max(item.at, now) end
  end
end

-- Of the open hosts that could begin a shape the one that can begin it first, or has the storage for it, or holds least;
-- and how many hosts were looked at.
local function host_to_drain(P, shape, now)
  local best, best_at, best_count
  local suiting = 0
  local _, looked = any_host_for(P, shape, function(name)
    local host = load_host(P, name)
    if host.open == '1' and host.reserved == '' and could_begin(host, shape, false) then
      suiting = suiting + 1
      local at, count = free_at(P, name, host, shape, shape.storage, now), redis.call('HLEN', P .. ':allocs:' .. name)
      -- what is stopped keeps its storage for ever, however long a host drains
      if tonumber(host.free_storage) < shape.storage then count = count + LARGEST end
      if not best or (at and (not best_at or at < best_at)) or (not at and not best_at and count < best_count) then
        best, best_at, best_count = name, at, count
      end
    end
    return suiting == RESERVE_HOSTS
  end)
  return best, looked
end

-- The first of each priority in the queue of a shape: a low one must not starve behind a stream of higher ones.
local function heads_of(P, text)
  local ids, from = {}, '-inf'
  while true do
    local head = redis.call('ZRANGEBYSCORE', P .. ':queue:' .. text, from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if not head[1] then return ids end
    ids[#ids + 1] = head[1]
    from = int((math.floor(tonumber(head[2]) / PRIORITY_STEP) + 1) * PRIORITY_STEP)
  end
end

-- Heads that waited too long and have no host yet, the oldest first; and the first shape that was looked at. Each call
-- looks at the next shapes in turn.
local function starving(P, now)
  local starve, heads = config(P, 'starve_ms', STARVE_MS), {}
  local from = tonumber(redis.call('HGET', P .. ':ledger', 'looked') or '0')
  local shapes = redis.call('ZRANGE', P .. ':shapes', from, from + RESERVE_SHAPES - 1)
  if #shapes == RESERVE_SHAPES then
    redis.call('HSET', P .. ':ledger', 'looked', int(from + RESERVE_SHAPES))
  elseif from > 0 then
    redis.call('HDEL', P .. ':ledger', 'looked')
  end
  for _, text in ipairs(shapes) do
    for _, id in ipairs(shape_of(text) and heads_of(P, text) or {}) do
      local env = load_fields(P .. ':env:' .. id, { 'since', 'reserved' })
      if env.reserved == '' and now - tonumber(env.since) > starve then
        heads[#heads + 1] = { id = id, shape = shape_of(text), since = tonumber(env.since) }
      end
    end
  end
  table.sort(heads, function(a, b) return a.since < b.since or (a.since == b.since and a.id < b.id) end)
  return heads, from
end

-- Take out of the queue what is over its owner's quota.
local function put_aside(P, id, words)
  local env = load_env(P, id)
  dequeue(P, id, env)
  unreserve(P, id)
  park(P, id, env, words)
end

-- Let hosts drain for the heads that waited too long; how many.
local function reserve(P, now)
  local done, most = 0, 1 + math.floor(redis.call('ZCARD', P .. ':hosts') / RESERVE_SHARE)
  local room = math.min(most - redis.call('HLEN', P .. ':reserved'), RESERVE_A_CALL)
  if room <= 0 then return 0 end
  local heads, from = starving(P, now)
  local looks = 0
  for _, head in ipairs(heads) do
    local words = quota_problem(P, load_fields(P .. ':env:' .. head.id, { 'owner', 'priority', 'shape', 'pin' }))
    if words then
      put_aside(P, head.id, words)
    else
      local name, looked = host_to_drain(P, head.shape, now)
      looks = looks + looked
      if name then
        set_reserved(P, head.id, name)
        wake(P, name)
        done = done + 1
        if done == room then break end
      elseif looks > RESERVE_LOOKS then -- the next call begins behind this one's first, so that it comes to others
        redis.call('HSET', P .. ':ledger', 'looked', int(from + 1))
        break
      end
    end
  end
  return done
end
