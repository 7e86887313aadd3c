-- The indexes by which a waiting environment finds a host, and waking it.

local function wake(P, host)
  local key = P .. ':wake:' .. host
  if redis.call('LLEN', key) == 0 then redis.call('RPUSH', key, '1') end
end

-- Keep a host where those look that want its GPUs. `free` are its free GPUs.
local function index_classes(P, name, host, free)
  local counts, classes = {}, {}
  if host.open == '1' then
    for _, gpu in ipairs(free) do
      local class = gpu_class(gpu)
      if not counts[class] then classes[#classes + 1] = class .. ';' end
      counts[class] = (counts[class] or 0) + 1
    end
  end
  for class in (host.classes or ''):gmatch('([^;]+);') do
    if not counts[class] then redis.call('ZREM', P .. ':room:' .. class, name) end
  end
  for class, count in pairs(counts) do redis.call('ZADD', P .. ':room:' .. class, count, name) end
  table.sort(classes)
  host.classes = table.concat(classes)
end

-- Keep a host where those look that want no GPU.
local function index_cpu(P, name, host, had_gpus)
  local cpu, gpus = tonumber(host.free_cpu), tonumber(host.free_gpus)
  local key = P .. ':room:' .. (gpus > 0 and 'gpu' or 'cpu')
  if host.open == '1' then
    redis.call('ZADD', key, cpu - gpus * tonumber(host.gpu_cpu), name)
  else
    redis.call('ZREM', key, name)
  end
  if had_gpus ~= (gpus > 0) then redis.call('ZREM', P .. ':room:' .. (gpus > 0 and 'cpu' or 'gpu'), name) end
end

-- Keep a host where those look that ask what could ever fit.
local function index_kind(P, name, before, kind)
  if before == kind then return end
  for _, gpu in ipairs(before ~= '' and kind_of(before).gpus or {}) do
    local class = gpu_class(gpu)
    redis.call('ZREM', P .. ':most:' .. class, name)
    if redis.call('ZCARD', P .. ':most:' .. class) == 0 then redis.call('SREM', P .. ':classes', class) end
  end
  for _, amount in ipairs({ 'cpu', 'ram', 'storage' }) do
    local key = P .. ':most:' .. amount
    if kind == '' then redis.call('ZREM', key, name) else redis.call('ZADD', key, kind_of(kind)[amount], name) end
  end
  if kind == '' then return end
  for _, gpu in ipairs(kind_of(kind).gpus) do
    redis.call('ZADD', P .. ':most:' .. gpu_class(gpu), gpu.count, name)
    redis.call('SADD', P .. ':classes', gpu_class(gpu))
  end
end

-- Whether a host has room for a shape now and makes its system, and nothing that it drains for.
local function room_on(P, name, shape)
  local free = redis.call('HMGET', P .. ':host:' .. name, 'free_cpu', 'free_ram', 'free_storage', 'reserved', 'kind')
  return free[1] and free[4] == '' and tonumber(free[1]) >= shape.cpu and tonumber(free[2]) >= shape.ram
    and tonumber(free[3]) >= shape.storage and makes_system(kind_of(free[5]), shape)
end

-- A host of an index with a score between `low` and `high` and room for the shape: the tightest first.
local function first_with_room(P, index, low, high, shape, except)
  local key = P .. ':room:' .. index
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', key, low, high, 'LIMIT', 0, WAKE_CANDIDATES)) do
    if name ~= except and room_on(P, name, shape) then return name end
  end
  for _, name in ipairs(redis.call('ZREVRANGEBYSCORE', key, high, low, 'LIMIT', 0, WAKE_CANDIDATES)) do
    if name ~= except and room_on(P, name, shape) then return name end
  end
end

-- The GPU classes that suit a shape, smallest memory first.
local function classes_for(P, shape)
  local classes = {}
  for _, class in ipairs(redis.call('SMEMBERS', P .. ':classes')) do
    local mib, model = class:match('^(%d+)|(.*)$')
    local gpu = { memory_mib = tonumber(mib), model = model, class = class }
    if gpu_fits(gpu, shape) then classes[#classes + 1] = gpu end
  end
  table.sort(classes, function(a, b) return a.memory_mib < b.memory_mib end)
  return classes
end

-- An open host that could take this shape now: the tightest fit, GPUs and their cores left for those who need them.
local function find_host(P, shape, except)
  if not shape then return nil end -- who knows it finds it at the next sweep
  if shape.gpus == 0 then
    return first_with_room(P, 'cpu', shape.cpu, '+inf', shape, except)
      or first_with_room(P, 'gpu', shape.cpu, '+inf', shape, except)
      or first_with_room(P, 'gpu', '-inf', '(' .. int(shape.cpu), shape, except)
  end
  for _, gpu in ipairs(classes_for(P, shape)) do
    local name = first_with_room(P, gpu.class, shape.gpus, '+inf', shape, except)
    if name then return name end
  end
end

-- Another open host that suits a shape better than this one: without free GPUs, or with cores that these leave over,
-- where none are asked for; with smaller GPUs where these suffice.
local function better_host(P, name, host, shape, picked)
  if shape.gpus == 0 then
    if host.gpus == 0 then return nil end
    local other = first_with_room(P, 'cpu', shape.cpu, '+inf', shape, name)
    if other or host.cpu - host.gpus * host.gpu_cpu >= shape.cpu then return other end
    return first_with_room(P, 'gpu', shape.cpu, '+inf', shape, name)
  end
  for _, gpu in ipairs(classes_for(P, shape)) do
    if gpu.memory_mib >= picked[#picked].memory_mib then return nil end
    local other = first_with_room(P, gpu.class, shape.gpus, '+inf', shape, name)
    if other then return other end
  end
end

local function wake_for(P, env)
  local host = env.pin
  if host == '' then host = find_host(P, shape_of(env.shape)) end
  if host then wake(P, host) end
end

-- The indexes that together have every host which could hold a shape if it were empty, each with the least score: those
-- of what fewest hosts have enough of.
local function narrowest(P, shape)
  local best, fewest = {}, nil
  local function consider(indexes)
    local count = 0
    for _, index in ipairs(indexes) do count = count + redis.call('ZCOUNT', index.key, index.least, '+inf') end
    if not fewest or count < fewest then best, fewest = indexes, count end
  end
  local hosts = redis.call('ZCARD', P .. ':hosts')
  for _, amount in ipairs({ 'cpu', 'ram', 'storage' }) do
    local key = P .. ':most:' .. amount
    -- a host that an earlier version registered is not in all of them
    if amount == 'cpu' or redis.call('ZCARD', key) == hosts then consider({ { key = key, least = shape[amount] } }) end
  end
  if shape.gpus > 0 then
    local indexes = {}
    for i, gpu in ipairs(classes_for(P, shape)) do indexes[i] = { key = P .. ':most:' .. gpu.class, least = 1 } end
    consider(indexes)
  end
  return best
end

-- Call `visit(name, kind)` for hosts that could hold a shape if they were empty, until it says true; also how many hosts
-- were looked at.
local function any_host_for(P, shape, visit)
  local looked = 0
  for _, index in ipairs(narrowest(P, shape)) do
    local from = 0
    repeat
      local names = redis.call('ZRANGEBYSCORE', index.key, index.least, '+inf', 'LIMIT', from, 32)
      for _, name in ipairs(names) do
        looked = looked + 1
        local kind = kind_of(redis.call('HGET', P .. ':host:' .. name, 'kind'))
        if kind_fits(kind, shape) and visit(name, kind) then return true, looked end
      end
      from = from + 32
    until #names < 32
  end
  return false, looked
end

-- Whether some host could hold the shape if it were empty; true where no host is known yet.
local function can_ever_fit(P, shape)
  return redis.call('ZCARD', P .. ':hosts') == 0 or (any_host_for(P, shape, function() return true end))
end

-- For a shape that could never start, as JSON: as much of it as the quota allows, where some host could hold that; else of the
-- largest hosts that make its system the one that comes nearest, and what it has of it; null where there is nothing.
local function nearest(P, wanted, quota)
  local shape = within_quota(wanted, quota)
  if not shape then return 'null' end
  if can_ever_fit(P, shape) then
    return cjson.encode({ cpu_milli = shape.cpu, ram_mib = shape.ram, storage_mib = shape.storage, gpus = shape.gpus })
  end
  local best, best_missing
  local function missing(have, need) return need > 0 and math.max(0, 1 - have / need) or 0 end
  local function look(index)
    for _, name in ipairs(redis.call('ZREVRANGE', P .. ':most:' .. index, 0, 199)) do
      local kind = kind_of(redis.call('HGET', P .. ':host:' .. name, 'kind'))
      local gpus = gpus_of_kind(kind, shape)
      local lack = missing(kind.cpu, shape.cpu) + missing(kind.ram, shape.ram) + missing(kind.storage, shape.storage)
        + 4 * missing(gpus, shape.gpus)
      if makes_system(kind, shape) and (not best or lack < best_missing) then
        best_missing = lack
        best = { cpu_milli = math.min(kind.cpu, shape.cpu), ram_mib = math.min(kind.ram, shape.ram),
          storage_mib = math.min(kind.storage, shape.storage), gpus = math.min(gpus, shape.gpus) }
      end
    end
  end
  for _, amount in ipairs({ 'cpu', 'ram', 'storage' }) do look(amount) end
  for _, gpu in ipairs(shape.gpus > 0 and classes_for(P, shape) or {}) do look(gpu.class) end
  return best and cjson.encode(best) or 'null'
end
