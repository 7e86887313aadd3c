-- The functions by name, with how many arguments each must have.

local function register_as(name, least, callback, flag)
  local function checked(keys, args)
    if #args < least then return bad(name .. ' takes ' .. int(least) .. ' arguments') end
    return callback(keys[1], unpack(args))
  end
  redis.register_function { function_name = '@LIBRARY@_' .. name, callback = checked, flags = { 'no-cluster', flag } }
end

register_as('submit', 11, submit)
register_as('start', 1, start)
register_as('grow', 3, grow)
register_as('set_quota', 2, set_quota)
register_as('configure', 0, configure)
-- a Redis that is full refuses what would fill it more, and lets go on what is under way
register_as('delete', 1, delete, 'allow-oom')
register_as('stop', 2, stop, 'allow-oom')
register_as('register', 5, register, 'allow-oom')
register_as('heartbeat', 2, heartbeat, 'allow-oom')
register_as('drain', 2, drain, 'allow-oom')
register_as('forget', 2, forget, 'allow-oom')
register_as('claim', 4, claim, 'allow-oom')
register_as('advance', 10, advance, 'allow-oom')
register_as('progress', 7, progress, 'allow-oom')
register_as('notice', 6, notice, 'allow-oom')
register_as('release', 8, release, 'allow-oom')
register_as('give_back', 6, give_back_one, 'allow-oom')
register_as('reconcile', 2, reconcile, 'allow-oom')
register_as('expire', 2, expire, 'allow-oom')
register_as('look', 1, look, 'no-writes')
register_as('glance', 1, glance, 'no-writes')
register_as('position', 1, position, 'no-writes')
register_as('todo', 2, todo, 'no-writes')
register_as('explain', 3, explain, 'no-writes')
register_as('nearest', 2, nearest_to, 'no-writes')
register_as('transitions', 0, function() return cjson.encode(NEXT) end, 'no-writes')
register_as('noop', 0, function() return 'OK' end, 'no-writes')
