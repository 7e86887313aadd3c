-- Hosts: what they have, what of it is free, and who may speak for them.

local HOST_FIELDS = { 'machine', 'instance', 'epoch', 'lease', 'state', 'drain', 'kind', 'listed', 'gpus', 'foreign', 'gpu_cpu',
  'free_cpu', 'free_ram', 'free_storage', 'free_gpus', 'free', 'over', 'open', 'classes', 'reserved' }

local function load_host(P, name)
  local host = load_fields(P .. ':host:' .. name, HOST_FIELDS)
  if not host.epoch then return nil end
  return host
end

local function unknown_host(name)
  return fail('NOTFOUND', 'There is no host ' .. name .. ' in the ledger')
end

-- nil, or the error for a caller that is not the present worker process of the host.
local function refusal(name, present, epoch)
  if not present then return unknown_host(name) end
  if present ~= epoch then
    return fail('FENCED', 'Host ' .. name .. ' has a newer worker process (epoch ' .. present .. ')')
  end
end

-- The host, if the caller is its present worker process; else nil and the error to return.
local function authorise(P, name, epoch)
  local host = load_host(P, name)
  local err = refusal(name, host and host.epoch, epoch)
  if err then return nil, err end
  return host
end

-- Which version of a host this is: of all that is told of it but its heartbeat. records.py makes it too.
local SHOWN = { 'state', 'drain', 'over', 'free_cpu', 'free_ram', 'free_storage', 'free', 'inventory' }
local function version_of(P, name)
  local told, ids = redis.call('HMGET', P .. ':host:' .. name, unpack(SHOWN)), redis.call('HKEYS', P .. ':allocs:' .. name)
  table.sort(ids)
  return redis.sha1hex(table.concat(told, '\n') .. '\n' .. table.concat(ids, ','))
end

local function parse_alloc(text)
  local token, cpu, ram, storage, gpus = text:match('^(%d+)|(%d+)|(%d+)|(%d+)|(.*)$')
  return { token = token, cpu = tonumber(cpu), ram = tonumber(ram), storage = tonumber(storage), gpus = gpus }
end

local function alloc_text(token, cpu, ram, storage, gpus)
  return table.concat({ token, int(cpu), int(ram), int(storage), gpus }, '|')
end

local function holds(P, name, uuid)
  for _, text in ipairs(redis.call('HVALS', P .. ':allocs:' .. name)) do
    if (',' .. parse_alloc(text).gpus .. ','):find(',' .. uuid .. ',', 1, true) then return true end
  end
  return false
end

-- Whether a host may give a GPU that was another's: that one is gone, or silent or without it, and nobody there has it.
local function may_take_over(P, owner, uuid)
  local other = redis.call('HMGET', P .. ':host:' .. owner, 'state', 'listed')
  if not other[1] then return true end
  local listed = (',' .. other[2] .. ','):find(',' .. uuid .. ',', 1, true)
  return (other[1] == 'lost' or not listed) and not holds(P, owner, uuid)
end

-- Settle which of its GPUs a host may give. A machine that two hosts describe gives each GPU once.
local function settle_gpus(P, name, host)
  local gpus = cjson.decode(redis.call('HGET', P .. ':host:' .. name, 'inventory')).gpus
  local entries, listed, foreign = {}, {}, '0'
  for _, gpu in ipairs(gpus) do
    listed[#listed + 1] = gpu.uuid
    local owner = redis.call('HGET', P .. ':gpus', gpu.uuid)
    if owner and owner ~= name and not may_take_over(P, owner, gpu.uuid) then
      foreign = '1'
    else
      if owner ~= name then redis.call('HSET', P .. ':gpus', gpu.uuid, name) end
      if gpu.healthy ~= false then
        entries[#entries + 1] = table.concat({ gpu.uuid, int(gpu.memory_mib), int(gpu.island or 0), gpu.parent or '',
          (gpu.model:gsub('[=;|]', ' ')) }, '|') .. ';'
      end
    end
  end
  for uuid in (host.listed or ''):gmatch('[^,]+') do
    local gone = not (',' .. table.concat(listed, ',') .. ','):find(',' .. uuid .. ',', 1, true)
    if gone and redis.call('HGET', P .. ':gpus', uuid) == name and not holds(P, name, uuid) then
      redis.call('HDEL', P .. ':gpus', uuid)
    end
  end
  host.gpus, host.listed, host.foreign = table.concat(entries), table.concat(listed, ','), foreign
  redis.call('HSET', P .. ':host:' .. name, 'gpus', host.gpus, 'listed', host.listed, 'foreign', foreign)
end

-- Whether a host could begin a shape if nothing else were on it, with the GPUs that it may give now. What waits for its
-- storage there has that, and its system too.
local function could_begin(host, shape, has_storage)
  if not shape then return false end
  local kind, gpus = kind_of(host.kind), 0
  for _, gpu in ipairs(shape.gpus > 0 and parse_gpus(host.gpus) or {}) do
    if gpu_fits(gpu, shape) then gpus = gpus + 1 end
  end
  return kind.cpu >= shape.cpu and kind.ram >= shape.ram and gpus >= shape.gpus
    and (has_storage or kind.storage >= shape.storage and makes_system(kind, shape))
end

-- The host that drained for an environment is free for others again.
local function unreserve(P, id)
  local name = redis.call('HGET', P .. ':reserved', id)
  if not name then return end
  redis.call('HDEL', P .. ':reserved', id)
  redis.call('HSET', P .. ':env:' .. id, 'reserved', '')
  redis.call('HSET', P .. ':host:' .. name, 'reserved', '')
  redis.call('DEL', P .. ':missed:' .. name)
end

local function set_reserved(P, id, name)
  redis.call('HSET', P .. ':reserved', id, name)
  redis.call('HSET', P .. ':env:' .. id, 'reserved', name)
  redis.call('HSET', P .. ':host:' .. name, 'reserved', id)
  redis.call('DEL', P .. ':missed:' .. name)
end

-- Free = inventory - allocations, recomputed, never adjusted; with it the indexes.
local function recompute(P, name, host)
  local kind, over = kind_of(host.kind), false
  local cpu, ram, storage, held = kind.cpu, kind.ram, kind.storage, {}
  for _, text in ipairs(redis.call('HVALS', P .. ':allocs:' .. name)) do
    local alloc = parse_alloc(text)
    cpu, ram, storage = cpu - alloc.cpu, ram - alloc.ram, storage - alloc.storage
    for uuid in alloc.gpus:gmatch('[^,]+') do
      held[uuid] = true
      if not (',' .. host.listed .. ','):find(',' .. uuid .. ',', 1, true) then over = true end
    end
  end
  over = over or cpu < 0 or ram < 0 or storage < 0
  local free, entries, had_gpus = {}, {}, nil
  for _, gpu in ipairs(parse_gpus(host.gpus)) do
    if not held[gpu.uuid] then
      free[#free + 1] = gpu
      entries[#entries + 1] = gpu.entry
    end
  end
  host.over = over and '1' or '0'
  host.open = host.state == 'ready' and host.drain ~= '1' and not over and '1' or '0'
  host.free_cpu, host.free_ram, host.free_storage = int(math.max(cpu, 0)), int(math.max(ram, 0)), int(math.max(storage, 0))
  host.free_gpus, host.free = int(#free), table.concat(entries)
  index_classes(P, name, host, free)
  index_cpu(P, name, host, had_gpus)
  redis.call('HSET', P .. ':host:' .. name, 'free_cpu', host.free_cpu, 'free_ram', host.free_ram, 'free_storage',
    host.free_storage, 'free_gpus', host.free_gpus, 'free', host.free, 'over', host.over, 'open', host.open, 'classes', host.classes)
  redis.call('DEL', P .. ':missed:' .. name)
  if host.reserved ~= '' and host.open ~= '1' then unreserve(P, host.reserved) end
end
