-- Shapes, and what of GPUs suits them.

-- The need that a text describes, or false where it describes none that is known here: a newer version may have queued it.
local shape_of = memo(function(text)
  local cpu, ram, storage, gpus, gpu_mib, model, system = text:match('^(%d+):(%d+):(%d+):(%d+):(%d+):([%w ._-]*):?([%w ./_-]*)$')
  if not cpu or #text > 400 then return false end
  local shape = { cpu = integer(cpu, 0, LARGEST), ram = integer(ram, 0, LARGEST), storage = integer(storage, 0, LARGEST),
    gpus = integer(gpus, 0, 4096), gpu_mib = integer(gpu_mib, 0, LARGEST), model = model:lower(), system = system }
  if not (shape.cpu and shape.ram and shape.storage and shape.gpus and shape.gpu_mib) then return false end
  return shape
end)

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
  return gpu.memory_mib >= shape.gpu_mib and model_fits(shape.model .. '\n' .. gpu.model)
end

local function gpu_class(gpu)
  return int(gpu.memory_mib) .. '|' .. gpu.model
end

-- GPUs as a host's fields `gpus` and `free` write them.
local function parse_gpus(text)
  local gpus = {}
  for entry, uuid, mib, island, parent, model in (text or ''):gmatch('(([^|]+)|(%d+)|(%d+)|([^|]*)|([^;]*);)') do
    gpus[#gpus + 1] = { uuid = uuid, memory_mib = tonumber(mib), island = parent ~= '' and parent or island, model = model,
      entry = entry }
  end
  return gpus
end

-- GPUs that fit, in the order in which they are given: the smallest memory first, then those of which most are linked.
local function in_order(fitting, sizes)
  table.sort(fitting, function(a, b)
    if a.memory_mib ~= b.memory_mib then return a.memory_mib < b.memory_mib end
    if sizes[a.group] ~= sizes[b.group] then return sizes[a.group] > sizes[b.group] end
    if a.group ~= b.group then return a.group < b.group end
    return a.uuid < b.uuid
  end)
  return fitting
end

-- The GPUs to give, or nil: the smallest memory that suffices; of that the smallest group of linked ones (or of one
-- card's MIG devices) that is large enough, so that larger groups stay whole; else as few groups as can be.
local function pick_gpus(free, shape)
  if #free < shape.gpus then return nil end
  local fitting, counts = {}, {}
  for _, gpu in ipairs(free) do
    if gpu_fits(gpu, shape) then
      fitting[#fitting + 1] = gpu
      counts[gpu.memory_mib] = (counts[gpu.memory_mib] or 0) + 1
    end
  end
  if #fitting < shape.gpus then return nil end
  local memory -- nil where it takes GPUs of different sizes
  for memory_mib, count in pairs(counts) do
    if count >= shape.gpus and (not memory or memory_mib < memory) then memory = memory_mib end
  end
  local candidates, groups, sizes = {}, {}, {}
  for _, gpu in ipairs(fitting) do
    if not memory or gpu.memory_mib == memory then
      candidates[#candidates + 1] = gpu
      gpu.group = gpu_class(gpu) .. '|' .. gpu.island
      local group = groups[gpu.group] or {}
      groups[gpu.group] = group
      group[#group + 1] = gpu
      sizes[gpu.group] = #group
    end
  end
  local best, best_key
  for key, group in pairs(groups) do
    if #group >= shape.gpus and (not best or #group < #best or (#group == #best and key < best_key)) then
      best, best_key = group, key
    end
  end
  best = best or in_order(candidates, sizes)
  local picked = {}
  for i = 1, shape.gpus do picked[i] = best[i] end
  return picked
end

-- What a host of some kind has in all; `systems` is nil where it does not say.
local kind_of = memo(function(text)
  local cpu, ram, storage, list, offers = text:match('^(%d+)|(%d+)|(%d+)|([^|]*)|?(.*)$')
  local kind = { cpu = tonumber(cpu), ram = tonumber(ram), storage = tonumber(storage), gpus = {},
    systems = offers ~= '' and {} or nil }
  for system, versions in offers:gmatch('(%S+ %S+ %S+)([^;]*);') do
    for version in versions:gmatch('%S+') do kind.systems[system .. ' ' .. version] = true end
  end
  for mib, model, count in list:gmatch('(%d+):([^=]*)=(%d+);') do
    table.insert(kind.gpus, { memory_mib = tonumber(mib), model = model, count = tonumber(count) })
  end
  return kind
end)

local function gpus_of_kind(kind, shape)
  local count = 0
  for _, gpu in ipairs(kind.gpus) do
    if gpu_fits(gpu, shape) then count = count + gpu.count end
  end
  return count
end

-- Whether a host of a kind makes the system of a shape: its version of the language, or the one that it is a patch of.
-- One that does not say what it makes takes all.
local function makes_system(kind, shape)
  local system = shape.system
  if not kind.systems or system == '' then return true end
  while system do
    if kind.systems[system] then return true end
    system = system:match('^(.*)%.%d+$')
  end
  return false
end

-- Whether an empty host of a kind has what a shape takes.
local function kind_suffices(kind, shape)
  return kind.cpu >= shape.cpu and kind.ram >= shape.ram and kind.storage >= shape.storage
    and gpus_of_kind(kind, shape) >= shape.gpus
end

-- Whether an empty host of a kind could hold a shape.
local function kind_fits(kind, shape)
  return kind_suffices(kind, shape) and makes_system(kind, shape)
end
