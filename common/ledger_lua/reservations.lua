-- Reservations: a host that drains for a head that waited too long.

-- When a host could begin a shape by the lifetimes of what it holds: ms, or nil where they do not say. A lifetime that
-- ends gives back all but the storage; `storage` is what must be free of it.
local function free_at(P, name, host, shape, storage, now)
  if tonumber(host.free_storage) < storage then return nil end
  local suits, gpus = {}, 0
  for _, gpu in ipairs(parse_gpus(host.gpus)) do suits[gpu.uuid] = gpu_fits(gpu, shape) end
  for _, gpu in ipairs(parse_gpus(host.free)) do
    if suits[gpu.uuid] then gpus = gpus + 1 end
  end
  local cpu, ram = tonumber(host.free_cpu), tonumber(host.free_ram)
  local function enough() return cpu >= shape.cpu and ram >= shape.ram and gpus >= shape.gpus end
  if enough() then return now end
  local allocs, ends = redis.call('HGETALL', P .. ':allocs:' .. name), {}
  for i = 1, #allocs, 2 do
    local env = load_fields(P .. ':env:' .. allocs[i], { 'expires', 'lifetime', 'state' })
    local at = tonumber(env.expires)
    if not at and MAKING[env.state] and tonumber(env.lifetime) > 0 then at = now + tonumber(env.lifetime) end
    if at then ends[#ends + 1] = { at = at, alloc = parse_alloc(allocs[i + 1]) } end
  end
  table.sort(ends, function(a, b) return a.at < b.at end)
  for _, item in ipairs(ends) do
    cpu, ram = cpu + item.alloc.cpu, ram + item.alloc.ram
    for uuid in item.alloc.gpus:gmatch('[^,]+') do
      if suits[uuid] then gpus = gpus + 1 end
    end
    if enough() then return math.max(item.at, now) end
  end
end

-- Of the open hosts that could hold a shape the one that can begin it first, or holds least.
local function host_to_drain(P, shape, now)
  local best, best_at, best_count
  local looked = 0
  any_host_for(P, shape, function(name)
    local host = load_host(P, name)
    if host.open == '1' and host.reserved == '' then
      looked = looked + 1
      local at, count = free_at(P, name, host, shape, shape.storage, now), redis.call('HLEN', P .. ':allocs:' .. name)
      if not best or (at and (not best_at or at < best_at)) or (not at and not best_at and count < best_count) then
        best, best_at, best_count = name, at, count
      end
    end
    return looked == RESERVE_HOSTS
  end)
  return best
end

-- Heads that waited too long and have no host yet, the oldest first. Each call looks at the next shapes in turn.
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
    local id = redis.call('ZRANGE', P .. ':queue:' .. text, 0, 0)[1]
    local env = load_fields(P .. ':env:' .. id, { 'since', 'reserved' })
    if env.reserved == '' and now - tonumber(env.since) > starve then
      heads[#heads + 1] = { id = id, shape = shape_of(text), since = tonumber(env.since) }
    end
  end
  table.sort(heads, function(a, b) return a.since < b.since or (a.since == b.since and a.id < b.id) end)
  return heads
end

-- Let hosts drain for the heads that waited too long; how many.
local function reserve(P, now)
  local done, most = 0, 1 + math.floor(redis.call('ZCARD', P .. ':hosts') / RESERVE_SHARE)
  local room = math.min(most - redis.call('HLEN', P .. ':reserved'), RESERVE_A_CALL)
  if room <= 0 then return 0 end
  for _, head in ipairs(starving(P, now)) do
    local name = host_to_drain(P, head.shape, now)
    if name then
      set_reserved(P, head.id, name)
      wake(P, name)
      done = done + 1
      if done == room then break end
    end
  end
  return done
end
