-- What ends an allocation, and what becomes of its environment.

-- Those of an owner that waited for quota and fit it now go back to the queue, in their order.
local function unpark(P, owner)
  local members = redis.call('ZRANGE', P .. ':parked:' .. owner, 0, -1)
  if #members == 0 then return end
  redis.call('HSET', P .. ':parked', owner, '')
  local own = standing(P, owner, '0')
  local usage, hopeless, moved = own.usage, {}, 0
  for _, member in ipairs(members) do
    local id, need = member:match('^(%S+) (.*)$')
    if not hopeless[need] then
      if over_quota(usage, own.quota, need) then
        hopeless[need] = true -- usage only grows here
      elseif moved == PARKED_A_CALL then
        redis.call('HSET', P .. ':parked', owner, '1')
        return
      else
        local env = load_env(P, id)
        usage, moved = sum(usage, need, 1), moved + 1
        leave_parking(P, owner, member)
        change(P, id, env, { parked = '', reason = '', message = 'Waiting for a host with room' })
        enqueue(P, id, env)
        wake_for(P, env)
      end
    end
  end
end

-- Take an allocation away; `keep_storage` leaves its storage allocated, under a token of its own where one is given.
-- The caller recomputes the host.
local function deallocate(P, name, id, env, keep_storage)
  local key = P .. ':allocs:' .. name
  redis.call('ZREM', P .. ':lifetimes', id)
  local text = redis.call('HGET', key, id)
  if not text then return end
  local alloc = parse_alloc(text)
  local _, gpus = alloc.gpus:gsub('[^,]+', '')
  local amount = table.concat({ int(alloc.cpu), int(alloc.ram), int(gpus) }, '|')
  if keep_storage then
    redis.call('HSET', key, id, alloc_text(keep_storage, 0, 0, alloc.storage, ''))
    give_usage_back(P, env.owner, '0|' .. amount .. '|0')
  else
    redis.call('HDEL', key, id)
    give_usage_back(P, env.owner, '1|' .. amount .. '|' .. int(alloc.storage))
  end
end

local function settle(P, name, host)
  recompute(P, name, host)
  if host.open == '1' then wake(P, name) end
end

-- The end of an environment that waits nowhere and has no allocation any more.
local function finish(P, id, env, fields, now)
  fields.token, fields.gpus, fields.pin, fields.expires, fields.phase, fields.parked = '0', '', '', '', '', ''
  redis.call('ZADD', P .. ':ended', now + config(P, 'keep_ms', KEEP_MS), id)
  change(P, id, env, fields)
end

-- What a host was making waits again at its old place; after too many attempts it has failed. Where its files are on
-- the host nothing is thrown away: it waits for that host, or is stopped. The caller recomputes the host.
local function give_back(P, name, id, env, reason, request, now)
  local attempt = tonumber(env.attempt) + (env.state == 'claimed' and 0 or 1) -- nobody had begun to make it
  local token = env.pin ~= '' and next_token(P, now) or nil
  deallocate(P, name, id, env, token)
  if attempt > MAX_ATTEMPTS then
    local message = 'Given up after ' .. MAX_ATTEMPTS .. ' attempts; the last ended with ' .. reason
    if token then
      change(P, id, env, { state = 'stopping', reason = 'too_many_attempts', message = message, phase = '', by = request })
      change(P, id, env, { state = 'stopped', gpus = '', progress = '0', token = token })
    else
      finish(P, id, env, { state = 'failed', reason = 'too_many_attempts', message = message, by = request }, now)
    end
    return
  end
  change(P, id, env, { state = 'queued', reason = reason, attempt = int(attempt), progress = '0', phase = '', by = request,
    token = token or '0', gpus = '', host = token and name or '', message = 'Waiting again', since = int(now) })
  enqueue(P, id, env)
  wake_for(P, env)
end

-- Tell the host to act on an environment: stop or delete it.
local function order(P, id, env, fields)
  redis.call('ZREM', P .. ':lifetimes', id)
  change(P, id, env, fields)
  wake(P, env.host)
end
