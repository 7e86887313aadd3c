-- The record of an environment and its history.

local function append_event(P, id, env)
  local event = redis.call('XADD', P .. ':events:' .. id, '*', 's', env.state, 'p', env.progress, 'ph', env.phase,
    'm', env.message, 'r', env.reason, 'h', env.host)
  redis.call('PUBLISH', P .. ':feed', '{"env":"' .. id .. '","id":"' .. event .. '"}')
  return event
end

-- Set fields of a record, and write the event that tells of it. `env` holds at least what the event tells.
local function change(P, id, env, fields)
  for name, value in pairs(fields) do env[name] = value end
  fields.event = append_event(P, id, env)
  store_fields(P .. ':env:' .. id, fields)
end

local function load_env(P, id)
  local env = hash(P .. ':env:' .. id)
  if not env.state then return nil end
  return env
end
