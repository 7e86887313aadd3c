-- Why an environment waits, and until when.

-- What one host lacks for a shape: a table for JSON. What waits for its storage there, `pinned`, has that and its system.
local function lacks(P, name, host, shape, pinned, now)
  local short, kind, storage = {}, kind_of(host.kind), pinned and 0 or shape.storage
  local function compare(what, need, free)
    if need > free then short[#short + 1] = { what = what, need = need, free = free, short = need - free } end
  end
  compare('cpu_milli', shape.cpu, tonumber(host.free_cpu))
  compare('ram_mib', shape.ram, tonumber(host.free_ram))
  compare('storage_mib', storage, tonumber(host.free_storage))
  local gpus = 0
  for _, gpu in ipairs(parse_gpus(host.free)) do
    if gpu_fits(gpu, shape) then gpus = gpus + 1 end
  end
  compare('gpus', shape.gpus, gpus)
  local result = { host = name, state = host.drain == '1' and host.state == 'ready' and 'draining' or host.state,
    ever = kind_suffices(kind, shape), overcommitted = host.over == '1', short = #short > 0 and short or nil,
    reserved_for = host.reserved ~= '' and host.reserved or nil }
  if not pinned and not makes_system(kind, shape) then result.ever, result.system = false, shape.system end
  if not result.ever or #short == 0 then return result end
  local at = free_at(P, name, host, shape, storage, now)
  result.free_at = at and int(at) or nil
  local allocs, held_by = redis.call('HGETALL', P .. ':allocs:' .. name), {}
  for i = 1, math.min(#allocs, 2 * HELD_BY), 2 do
    local alloc, env = parse_alloc(allocs[i + 1]), load_fields(P .. ':env:' .. allocs[i], { 'owner', 'expires' })
    local _, count = alloc.gpus:gsub('[^,]+', '')
    held_by[#held_by + 1] = { id = allocs[i], owner = env.owner, expires = env.expires ~= '' and env.expires or nil,
      cpu_milli = alloc.cpu, ram_mib = alloc.ram, storage_mib = alloc.storage, gpus = count }
  end
  result.held_by = #held_by > 0 and held_by or nil
  return result
end

-- explain id shape owner host... → JSON of some hosts: hosts; fits, whether one has room now; ever, whether one could
-- if it were empty; estimate, the earliest time that one will have room, as far as lifetimes say; pinned, the one host
-- that counts; parked, the words of a quota; beyond, those that it is over by itself; position state owner. With id "" for a shape that nobody submitted.
local function explain(P, id, text, owner, ...)
  local env = { shape = text, owner = owner, pin = '', state = 'queued', priority = '5' }
  if id ~= '' then env = load_env(P, id) end
  if not env then return fail('NOTFOUND', 'There is no environment ' .. id) end
  local shape = shape_of(env.shape)
  if not shape then return bad('shape ' .. text) end
  local now, hosts = time_ms(), {}
  local result = { state = env.state, owner = env.owner, fits = false, ever = false,
    parked = env.state == 'queued' and quota_problem(P, env) or nil,
    beyond = env.state == 'queued' and beyond_quota(P, env) or nil, position = id ~= '' and position_of(P, id) or nil,
    pinned = env.pin ~= '' and env.pin or nil }
  for _, name in ipairs(env.pin ~= '' and { env.pin } or { ... }) do
    local host = load_host(P, name)
    if host then
      local item = lacks(P, name, host, shape, env.pin ~= '', now)
      local at = tonumber(item.free_at)
      hosts[#hosts + 1] = item
      if item.ever then result.ever = true end
      local may = host.open == '1' and (not item.reserved_for or item.reserved_for == id)
      if may and not item.short and not item.system then result.fits = true end
      if may and at and not (result.estimate and tonumber(result.estimate) <= at) then result.estimate = int(at) end
    end
  end
  result.hosts = #hosts > 0 and hosts or nil
  return cjson.encode(result)
end

-- nearest shape owner → JSON of the nearest thing that one host could hold within the owner's quota, or null
local function nearest_to(P, text, owner)
  local shape = shape_of(text)
  if not shape then return bad('shape ' .. text) end
  return nearest(P, shape, quota_of(P, owner))
end
