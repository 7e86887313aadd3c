-- Owners: virtual time, usage, quotas.

local QUOTA_WORDS = { 'environments', 'CPU', 'RAM', 'GPUs', 'storage' }

-- environments|cpu|ram|gpus|storage as a list; false where there is no number.
local amounts = memo(function(text)
  local list = {}
  for part in (text .. '|'):gmatch('(.-)|') do list[#list + 1] = tonumber(part) or false end
  return list
end)

-- What a shape adds to what its owner holds, and what it adds where its storage is counted already. A shape of a newer
-- version begins with these amounts too.
local amounts_of = memo(function(text)
  local cpu, ram, storage, gpus = text:match('^(%d+):(%d+):(%d+):(%d+)')
  local amount = table.concat({ int(cpu), int(ram), int(gpus) }, '|')
  return { fresh = '1|' .. amount .. '|' .. int(storage), kept = '0|' .. amount .. '|0' }
end)

local function need_of(env)
  return amounts_of(env.shape)[env.pin == '' and 'fresh' or 'kept']
end

local function sum(usage, need, sign)
  local had, more, result = amounts(usage or ''), amounts(need), {}
  for i = 1, 5 do result[i] = int(math.max((had[i] or 0) + sign * more[i], 0)) end
  return table.concat(result, '|')
end

-- What of a need goes over a quota, in words, or nil.
local function over_quota(usage, quota, need)
  if not quota then return nil end
  local limits, had, more, words = amounts(quota), amounts(usage or ''), amounts(need), {}
  for i = 1, 5 do
    if limits[i] and more[i] > 0 and (had[i] or 0) + more[i] > limits[i] then words[#words + 1] = QUOTA_WORDS[i] end
  end
  return #words > 0 and table.concat(words, ', ') or nil
end

-- An owner's usage, quota and, for a priority, virtual time, and the last token: all that a claim needs, in one call.
local function standing(P, owner, priority)
  local t = redis.call('HMGET', P .. ':ledger', 'u:' .. owner, 'q:' .. owner, 'q:*', 'v:' .. priority, 'token')
  return { usage = t[1] or nil, quota = t[2] or t[3] or nil, virtual_time = tonumber(t[4] or '0'), token = t[5] or nil }
end

local function quota_problem(P, env)
  local own = standing(P, env.owner, env.priority)
  return over_quota(own.usage, own.quota, need_of(env))
end

local function quota_of(P, owner)
  local quotas = redis.call('HMGET', P .. ':ledger', 'q:' .. owner, 'q:*')
  return quotas[1] or quotas[2] or nil
end

-- What of a need goes over its owner's quota even with nothing else there, in words, or nil.
local function beyond_quota(P, env)
  return over_quota(nil, quota_of(P, env.owner), need_of(env))
end

-- As much of a shape as a quota lets its owner hold, or nil where that is nothing.
local function within_quota(shape, quota)
  local limits = amounts(quota or '')
  if limits[1] == 0 or limits[2] == 0 or limits[3] == 0 or limits[5] == 0 then return nil end
  local function most(need, limit) return math.min(need, limit or need) end
  return { cpu = most(shape.cpu, limits[2]), ram = most(shape.ram, limits[3]), gpus = most(shape.gpus, limits[4]),
    storage = most(shape.storage, limits[5]), gpu_mib = shape.gpu_mib, model = shape.model, system = shape.system }
end

local function give_usage_back(P, owner, need)
  local usage = sum(redis.call('HGET', P .. ':ledger', 'u:' .. owner) or nil, need, -1)
  if usage == '0|0|0|0|0' then
    redis.call('HDEL', P .. ':ledger', 'u:' .. owner)
  else
    redis.call('HSET', P .. ':ledger', 'u:' .. owner, usage)
  end
end

-- Start-time fair queueing: an environment starts, in virtual time, where its owner's last one ended,
-- but not before the present; so a burst lines up behind itself and not before others.
local function place(P, owner, priority, cost)
  local v_field, f_field = 'v:' .. priority, 'f:' .. priority .. ':' .. owner
  local tags = redis.call('HMGET', P .. ':ledger', v_field, f_field)
  local start = math.max(tonumber(tags[1] or '0'), tonumber(tags[2] or '0'))
  start = math.min(start, PRIORITY_STEP - 1)
  redis.call('HSET', P .. ':ledger', f_field, int(start + cost))
  return int((9 - priority) * PRIORITY_STEP + start)
end

-- Take away finish tags that virtual time has passed, which place nobody: each call looks at some.
local function drop_passed_tags(P)
  local key = P .. ':ledger'
  local from = redis.call('HGET', key, 'scanned') or '0'
  local page, virtual_times = redis.call('HSCAN', key, from, 'MATCH', 'f:*', 'COUNT', TAGS_A_CALL), {}
  for i = 1, #page[2], 2 do
    local priority = page[2][i]:match('^f:(%d):')
    virtual_times[priority] = virtual_times[priority] or tonumber(redis.call('HGET', key, 'v:' .. priority) or '0')
    if tonumber(page[2][i + 1]) <= virtual_times[priority] then redis.call('HDEL', key, page[2][i]) end
  end
  if page[1] ~= '0' then
    redis.call('HSET', key, 'scanned', page[1])
  elseif from ~= '0' then
    redis.call('HDEL', key, 'scanned')
  end
end

-- What was never claimed is not held against its owner.
local function refund(P, env)
  local field = 'f:' .. env.priority .. ':' .. env.owner
  local finish = tonumber(redis.call('HGET', P .. ':ledger', field) or '0')
  redis.call('HSET', P .. ':ledger', field, int(math.max(finish - tonumber(env.cost), 0)))
end
