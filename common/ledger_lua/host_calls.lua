-- What a host does with the environments that it holds.

-- The record, if the caller holds its allocation; else nil and the error to return, and the record all the same.
local function held(P, name, epoch, id, token)
  local err = refusal(name, redis.call('HGET', P .. ':host:' .. name, 'epoch') or nil, epoch)
  if err then return nil, err end
  local env = load_env(P, id)
  if not env then return nil, fail('NOTFOUND', 'There is no environment ' .. id) end
  if env.host ~= name or env.token ~= token or token == '0' and env.state ~= 'deleting' then
    return nil, fail('STALE', 'Environment ' .. id .. ' has another allocation than token ' .. token), env
  end
  return env
end

local function illegal(env, state)
  return fail('ILLEGAL', 'There is no way from ' .. env.state .. ' to ' .. state)
end

local BY_ADVANCE = { building = true, starting = true, running = true, stopping = true }
local BY_RELEASE = { failed = true, stopped = true, deleted = true }

-- advance name epoch id token state phase progress message reason request → state
local function advance(P, name, epoch, id, token, state, phase, progress, message, reason, request)
  if not integer(progress, 0, 100) then return bad('progress is a whole number from 0 to 100, not ' .. progress) end
  local env, err, other = held(P, name, epoch, id, token)
  if request ~= '' and (env or other or {}).by == request then return state end
  if not env then return err end
  if not BY_ADVANCE[state] or not NEXT[env.state][state] then return illegal(env, state) end
  local fields = { state = state, phase = phase, progress = progress, message = message, reason = reason, by = request }
  if state == 'running' then
    local now = time_ms()
    fields.started, fields.pin = int(now), name
    if tonumber(env.lifetime) > 0 then
      fields.expires = int(now + env.lifetime)
      redis.call('ZADD', P .. ':lifetimes', fields.expires, id)
    end
  elseif state == 'stopping' then
    fields.expires = ''
    redis.call('ZREM', P .. ':lifetimes', id)
  end
  change(P, id, env, fields)
  return state
end

-- progress name epoch id token phase progress message → state; it never goes back
local function progress(P, name, epoch, id, token, phase, value, message)
  if not integer(value, 0, 100) then return bad('progress is a whole number from 0 to 100, not ' .. value) end
  local env, err = held(P, name, epoch, id, token)
  if not env then return err end
  if not MAKING[env.state] then return fail('ILLEGAL', 'It is ' .. env.state) end
  local at_least = int(math.max(tonumber(env.progress), tonumber(value)))
  if env.phase == phase and env.progress == at_least and env.message == message then return env.state end
  change(P, id, env, { phase = phase, progress = at_least, message = message })
  return env.state
end

-- notice name epoch id token reason message → state; tells the user of a running environment, once until it changes
local function notice(P, name, epoch, id, token, reason, message)
  local env, err = held(P, name, epoch, id, token)
  if not env then return err end
  if env.state ~= 'running' then return fail('ILLEGAL', 'It is ' .. env.state) end
  if env.reason ~= reason or env.message ~= message then change(P, id, env, { reason = reason, message = message }) end
  return env.state
end

-- release name epoch id token state reason message request → state; state is failed, stopped or deleted
local function release(P, name, epoch, id, token, state, reason, message, request)
  local env, err, other = held(P, name, epoch, id, token)
  if request ~= '' and (env or other or {}).by == request then return state end
  if not env then return err end
  if not BY_RELEASE[state] or not NEXT[env.state][state] or env.state == 'queued' then return illegal(env, state) end
  deallocate(P, name, id, env, state == 'stopped' and env.token)
  if state == 'stopped' then
    change(P, id, env, { state = state, reason = reason, message = message, phase = '', gpus = '', expires = '', pin = name,
      progress = '0', by = request })
  else
    finish(P, id, env, { state = state, reason = reason, message = message, by = request }, time_ms())
  end
  settle(P, name, load_host(P, name))
  unpark(P, env.owner)
  return state
end

-- give_back name epoch id token reason request → state; what this host cannot go on making waits again
local function give_back_one(P, name, epoch, id, token, reason, request)
  local env, err, other = held(P, name, epoch, id, token)
  if request ~= '' and (env or other or {}).by == request then return (env or other).state end
  if not env then return err end
  if not MAKING[env.state] then return fail('ILLEGAL', 'It is ' .. env.state) end
  give_back(P, name, id, env, reason, request, time_ms())
  settle(P, name, load_host(P, name))
  unpark(P, env.owner)
  return env.state
end

-- todo name epoch → id state token, for everything that the host must act on
local function todo(P, name, epoch)
  local err = refusal(name, redis.call('HGET', P .. ':host:' .. name, 'epoch') or nil, epoch)
  if err then return err end
  local result = {}
  for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
    local env = redis.call('HMGET', P .. ':env:' .. id, 'state', 'token')
    if env[1] == 'claimed' or env[1] == 'stopping' or env[1] == 'deleting' then
      for _, value in ipairs({ id, env[1], env[2] }) do result[#result + 1] = value end
    end
  end
  return result
end

-- reconcile name epoch [id token]... → JSON {orphans, missing, making, due, waiting}: running containers of the host against its
-- allocations. orphans: ids of containers without an allocation here; missing: ids that should run and were not
-- found; making: ids that some thread of the host should be working on; due: ids of `todo`; waiting: whether anything is
-- queued that a claim of this host could give. It counts as a heartbeat.
local function reconcile(P, name, epoch, ...)
  local host, err = authorise(P, name, epoch)
  if not host then return err end
  local pairs_given = { ... }
  if #pairs_given % 2 ~= 0 then return bad('reconcile takes pairs of id and token') end
  local found, orphans, missing, making, due = {}, {}, {}, {}, {}
  for i = 1, #pairs_given, 2 do found[pairs_given[i]] = pairs_given[i + 1] end
  local allocs = hash(P .. ':allocs:' .. name)
  for id in pairs(allocs) do
    local env = load_fields(P .. ':env:' .. id, { 'state', 'token' })
    if env.state == 'building' or env.state == 'starting' then making[#making + 1] = id end
    if env.state == 'claimed' or env.state == 'stopping' or env.state == 'deleting' then due[#due + 1] = id end
    if env.state == 'running' and found[id] ~= env.token then missing[#missing + 1] = id end
  end
  for id, token in pairs(found) do
    if not allocs[id] or parse_alloc(allocs[id]).token ~= token then orphans[#orphans + 1] = id end
  end
  if host.state == 'ready' then redis.call('ZADD', P .. ':hosts', time_ms() + host.lease, name) end
  if host.foreign == '1' then settle_gpus(P, name, host) end
  recompute(P, name, host)
  local function list(items) return #items > 0 and cjson.encode(items) or '[]' end
  return '{"orphans":' .. list(orphans) .. ',"missing":' .. list(missing) .. ',"making":' .. list(making) .. ',"due":' .. list(due)
    .. ',"waiting":' .. tostring(redis.call('EXISTS', P .. ':shapes', P .. ':pinned:' .. name) > 0) .. '}'
end
