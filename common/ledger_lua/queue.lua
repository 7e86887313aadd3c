-- The queue: by shape, by the host that holds storage, and beside it what is over quota.

local function enqueue(P, id, env)
  if env.pin ~= '' then
    redis.call('ZADD', P .. ':pinned:' .. env.pin, env.score, id)
    redis.call('HSET', P .. ':host:' .. env.pin, 'pinned', '1')
  else
    redis.call('ZADD', P .. ':queue:' .. env.shape, env.score, id)
    redis.call('ZADD', P .. ':shapes', 'LT', env.score, env.shape)
  end
  redis.call('INCR', P .. ':queued')
end

local function park(P, id, env, words)
  redis.call('ZADD', P .. ':parked:' .. env.owner, env.score, id .. ' ' .. need_of(env))
  redis.call('HSETNX', P .. ':parked', env.owner, '')
  change(P, id, env, { parked = '1', reason = 'over_quota',
    message = 'Waiting until its owner ' .. (beyond_quota(P, env) and 'may hold more' or 'holds less') .. ': over quota in ' .. words })
end

-- The queue of a shape begins with another one now.
local function set_head(P, shape, score)
  if score then
    redis.call('ZADD', P .. ':shapes', score, shape)
  else
    redis.call('ZREM', P .. ':shapes', shape)
  end
end

local function leave_parking(P, owner, member)
  local key = P .. ':parked:' .. owner
  redis.call('ZREM', key, member)
  if redis.call('EXISTS', key) == 0 then redis.call('HDEL', P .. ':parked', owner) end
end

local function dequeue(P, id, env)
  if env.parked == '1' then return leave_parking(P, env.owner, id .. ' ' .. need_of(env)) end
  if env.pin ~= '' then
    local pinned = P .. ':pinned:' .. env.pin
    redis.call('ZREM', pinned, id)
    if redis.call('ZCARD', pinned) == 0 then redis.call('HSET', P .. ':host:' .. env.pin, 'pinned', '0') end
    return
  end
  local queue = P .. ':queue:' .. env.shape
  redis.call('ZREM', queue, id)
  set_head(P, env.shape, redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2])
end

-- How many wait before an environment, plus 1; 0 where it does not wait in the queue.
local function position_of(P, id)
  local env = load_fields(P .. ':env:' .. id, { 'state', 'score', 'pin', 'shape', 'parked' })
  if env.state ~= 'queued' or env.parked == '1' then return 0 end
  local before = 0
  if env.pin ~= '' then before = redis.call('ZRANK', P .. ':pinned:' .. env.pin, id) or 0 end
  for _, shape in ipairs(redis.call('ZRANGEBYSCORE', P .. ':shapes', '-inf', env.score)) do
    local queue = P .. ':queue:' .. shape
    before = before + (shape == env.shape and env.pin == '' and redis.call('ZRANK', queue, id)
      or redis.call('ZCOUNT', queue, '-inf', '(' .. env.score))
  end
  return before + 1
end
