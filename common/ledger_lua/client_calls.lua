-- What clients ask for.

-- nil, or what is wrong with a submit.
local function problem_of(id, owner, shape, priority, cost, lifetime, request, origin, log, most, line)
  if #id > 64 or not id:find('^[%w_-]+$') then return 'an id has 1 to 64 letters, digits, - and _' end
  if #owner > 128 or not owner:find('^[^%s%c:|*]+$') then return 'an owner has 1 to 128 characters, none of them blank or one of : | *' end
  if not shape_of(shape) then return 'shape ' .. shape .. ' is not cpu:ram:storage:gpus:gpu_mib:gpu_model:system' end
  if not integer(priority, 0, 9) then return 'priority is a whole number from 0 to 9' end
  if not integer(cost, 1, LARGEST) then return 'cost is a whole number above 0' end
  if not integer(lifetime, 0, LARGEST) then return 'lifetime is a whole number of ms' end
  if #request > 256 then return 'an idempotency key has at most 256 bytes' end
  if #origin > 64 then return 'an origin has at most 64 bytes' end
  if log and not (integer(most, 1, LARGEST) and line) then return 'a log has a whole number of entries, and the line is one of them' end
end

-- Where an environment goes when it comes to wait: into the queue, or beside it while it is over quota.
local function wait_for_room(P, id, env)
  local words = quota_problem(P, env)
  if words then
    park(P, id, env, words)
    return
  end
  enqueue(P, id, env)
  wake_for(P, env)
end

-- submit id owner name contract shape priority cost lifetime_ms request digest wait [origin [log most line]] → id; where it
-- is accepted, the line is appended in the same step to a log, a stream of so many entries
local function submit(P, id, owner, name, contract, shape, priority, cost, lifetime, request, digest, wait, origin, log, most, line)
  origin = origin or ''
  local problem = problem_of(id, owner, shape, priority, cost, lifetime, request, origin, log, most, line)
  if problem then return bad(problem) end
  local request_key = P .. ':request:' .. owner .. ':' .. request
  if request ~= '' then
    local known = redis.call('GET', request_key)
    if known then
      local first, first_digest = known:match('^(%S+) (.*)$')
      if first_digest ~= digest then return fail('CONFLICT', 'This Idempotency-Key came with another body before') end
      return first
    end
  end
  if redis.call('EXISTS', P .. ':env:' .. id) == 1 then return id end
  if wait ~= '1' then
    local need, beyond = shape_of(shape), beyond_quota(P, { owner = owner, shape = shape, pin = '' })
    if beyond or not can_ever_fit(P, need) then
      return fail('NEVER', '{"nearest":' .. nearest(P, need, quota_of(P, owner)) .. ',"quota":"' .. (beyond or '') .. '"}')
    end
  end
  if log then redis.call('XADD', log, 'MAXLEN', '~', most, '*', 'e', line) end
  local now = int(time_ms())
  local env = { name = name, owner = owner, shape = shape, priority = priority, cost = cost, lifetime = lifetime, host = '',
    gpus = '', token = '0', pin = '', attempt = '1', created = now, started = '', expires = '', since = now, parked = '',
    reserved = '', state = 'queued', progress = '0', phase = '', message = 'Waiting for a host with room', reason = '', by = '', origin = origin,
    request = request }
  env.score = place(P, owner, priority, tonumber(cost))
  env.event = append_event(P, id, env)
  store_fields(P .. ':env:' .. id, env)
  redis.call('SET', P .. ':contract:' .. id, contract)
  redis.call('ZADD', P .. ':envs', 0, id)
  redis.call('ZADD', P .. ':envs:' .. owner, 0, id)
  if request ~= '' then redis.call('SET', request_key, id .. ' ' .. digest) end
  wait_for_room(P, id, env)
  return id
end

-- nil, or what is wrong where a caller saw another version than there is now; `seen` is the event that it saw last, "" is any.
-- Asked only after the look whether it is done already, so that a repeated call is no such problem.
local function changed_since(env, seen)
  return another_version(env.event, seen)
end

-- delete id [seen] → state
local function delete(P, id, seen)
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'There is no environment ' .. id) end
  if env.state == 'deleted' or env.state == 'deleting' then return env.state end
  local problem = changed_since(env, seen)
  if problem then return problem end
  if env.state == 'queued' then
    dequeue(P, id, env)
    unreserve(P, id)
    refund(P, env)
  end
  if env.state == 'failed' or (env.state == 'queued' and env.pin == '') then
    finish(P, id, env, { state = 'deleted', message = 'Deleted' }, time_ms())
  else
    order(P, id, env, { state = 'deleting', message = 'Being removed from ' .. env.host, phase = '', expires = '', parked = '' })
  end
  return env.state
end

-- stop id reason [seen] → state
local function stop(P, id, reason, seen)
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'There is no environment ' .. id) end
  if env.state == 'stopping' or env.state == 'stopped' then return env.state end
  local problem = changed_since(env, seen)
  if problem then return problem end
  if env.state ~= 'running' then return fail('ILLEGAL', 'It is ' .. env.state .. '; only a running environment can be stopped') end
  order(P, id, env, { state = 'stopping', reason = reason, message = 'Stopping', expires = '' })
  return env.state
end

-- start id [seen] → state
local function start(P, id, seen)
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'There is no environment ' .. id) end
  if env.state == 'queued' or MAKING[env.state] or env.state == 'running' then return env.state end
  local problem = changed_since(env, seen)
  if problem then return problem end
  if env.state ~= 'stopped' then return fail('ILLEGAL', 'It is ' .. env.state .. '; only a stopped environment can be started') end
  change(P, id, env, { state = 'queued', reason = '', message = 'Waiting for room on ' .. env.pin, progress = '0', attempt = '1',
    score = place(P, env.owner, env.priority, tonumber(env.cost)), since = int(time_ms()) })
  wait_for_room(P, id, env)
  return env.state
end

-- grow id storage contract [seen] → state; a stopped environment gets more storage on its host at once, and keeps it
local function grow(P, id, storage, contract, seen)
  local env = load_env(P, id)
  if not env then return fail('NOTFOUND', 'There is no environment ' .. id) end
  local shape, wanted = shape_of(env.shape), integer(storage, 1, LARGEST)
  if not wanted then return bad('storage is a whole number of MiB above 0') end
  local more = wanted - shape.storage
  if more == 0 then return env.state end
  local problem = changed_since(env, seen)
  if problem then return problem end
  if env.state ~= 'stopped' then return fail('ILLEGAL', 'It is ' .. env.state .. '; the storage of a stopped environment grows') end
  if more < 0 then return fail('ILLEGAL', 'It has ' .. int(shape.storage) .. ' MiB of storage, which can grow but not shrink') end
  local host, allocs = load_host(P, env.pin), P .. ':allocs:' .. env.pin
  if tonumber(host.free_storage) < more then
    return fail('ILLEGAL', 'Host ' .. env.pin .. ', which has its files, has only ' .. host.free_storage .. ' MiB of storage free')
  end
  local own, need = standing(P, env.owner, env.priority), '0|0|0|0|' .. int(more)
  if over_quota(own.usage, own.quota, need) then return fail('ILLEGAL', 'It would take its owner over the quota for storage') end
  local alloc = parse_alloc(redis.call('HGET', allocs, id))
  redis.call('HSET', allocs, id, alloc_text(alloc.token, alloc.cpu, alloc.ram, alloc.storage + more, alloc.gpus))
  redis.call('HSET', P .. ':ledger', 'u:' .. env.owner, sum(own.usage, need, 1))
  redis.call('SET', P .. ':contract:' .. id, contract)
  change(P, id, env, { shape = env.shape:gsub('^(%d+:%d+:)%d+', '%1' .. int(wanted), 1), reason = '',
    message = 'Its storage is ' .. int(wanted) .. ' MiB from the next start on' })
  recompute(P, env.pin, host)
  return env.state
end

-- set_quota owner quota [seen] → OK; owner * is everyone without a quota of their own, quota "" takes it away; seen is
-- "own default" as the caller saw them, each "" where there is none
local function set_quota(P, owner, quota, seen)
  if quota ~= '' and not quota:find('^%d*|%d*|%d*|%d*|%d*$') then
    return bad('a quota is environments|cpu|ram|gpus|storage, each a number or empty')
  end
  local present = redis.call('HMGET', P .. ':ledger', 'q:' .. owner, 'q:*')
  local own, default = present[1] or '', present[2] or ''
  local problem = own ~= quota and another_version(own .. ' ' .. default, seen)
  if problem then return problem end
  if quota == '' then redis.call('HDEL', P .. ':ledger', 'q:' .. owner) else redis.call('HSET', P .. ':ledger', 'q:' .. owner, quota) end
  for _, who in ipairs(owner == '*' and redis.call('HKEYS', P .. ':parked') or { owner }) do unpark(P, who) end
  return 'OK'
end

-- configure [name value]... → OK; starve_ms, defer_ms, keep_ms, give_up_ms; "" is the default
local CONFIG = { starve_ms = true, defer_ms = true, keep_ms = true, give_up_ms = true }
local function configure(P, ...)
  local given = { ... }
  for i = 1, #given, 2 do
    local value = given[i + 1]
    if not CONFIG[given[i]] or not (value == '' or integer(value, 1, LARGEST)) then
      return bad(given[i] .. ' is not a setting with a number of ms above 0')
    end
  end
  for i = 1, #given, 2 do
    if given[i + 1] == '' then redis.call('HDEL', P .. ':config', given[i]) else redis.call('HSET', P .. ':config', given[i], given[i + 1]) end
  end
  return 'OK'
end

-- look id → record as JSON of a flat list, contract, position; or nil. All that there is to tell of an environment: a
-- client reads one long string in far less time than forty short ones.
local function look(P, id)
  local record = redis.call('HGETALL', P .. ':env:' .. id)
  return #record > 0 and { cjson.encode(record), redis.call('GET', P .. ':contract:' .. id), position_of(P, id) } or nil
end

-- glance id [hash]... → a digest of what `look` tells of an environment and of what the hashes hold: the same as long as none
-- of it changes. Every change of a record has an event of its own.
local function glance(P, id, ...)
  local env = redis.call('HMGET', P .. ':env:' .. id, 'event', 'owner')
  local parts = { env[1] or '', env[2] or '', int(position_of(P, id)) }
  for _, key in ipairs({ ... }) do
    parts[#parts + 1] = key
    for _, text in ipairs(redis.call('HGETALL', key)) do parts[#parts + 1] = int(#text) .. ':' .. text end
  end
  return redis.sha1hex(table.concat(parts, ' '))
end

-- position id → how many wait before it, plus 1; 0 where it does not wait
local function position(P, id)
  return position_of(P, id)
end
