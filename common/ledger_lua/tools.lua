-- Small tools.

local function int(number)
  return string.format('%d', number)
end

-- The whole number in a text, or nil where there is none between `low` and `high`.
local function integer(text, low, high)
  if type(text) ~= 'string' or not text:find('^%d+$') or #text > 16 then return nil end
  local number = tonumber(text)
  if number < low or number > high then return nil end
  return number
end

local function fail(word, text)
  return redis.error_reply(word .. ' ' .. text)
end

local function bad(text)
  return fail('BADARG', text)
end

-- nil, or the error for a caller who saw another version of something than there is now; `seen` nil or "" is any.
local function another_version(present, seen)
  if seen and seen ~= '' and seen ~= present then return fail('CHANGED', 'It has changed since you looked. Look again') end
end

local function time_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- A number that only rises, whatever a restored snapshot remembers as the last one.
local function token_after(last, now)
  return int(math.max((tonumber(last or '0')) + 1, now * 1000))
end

local function next_token(P, now)
  local token = token_after(redis.call('HGET', P .. ':ledger', 'token') or nil, now)
  redis.call('HSET', P .. ':ledger', 'token', token)
  return token
end

local function config(P, name, default)
  return tonumber(redis.call('HGET', P .. ':config', name) or default)
end

local function hash(key)
  local flat, result = redis.call('HGETALL', key), {}
  for i = 1, #flat, 2 do result[flat[i]] = flat[i + 1] end
  return result
end

local function load_fields(key, names)
  local values, result = redis.call('HMGET', key, unpack(names)), {}
  for i, name in ipairs(names) do result[name] = values[i] or nil end
  return result
end

local function store_fields(key, fields)
  local flat = {}
  for name, value in pairs(fields) do
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', key, unpack(flat))
end

-- Parsed forms of texts that never change their meaning; dropped when they grow many. Never change what it gives.
local function memo(parse)
  local known, count = {}, 0
  return function(text)
    local value = known[text]
    if value == nil then
      if count >= 4096 then known, count = {}, 0 end
      value = parse(text)
      known[text], count = value, count + 1
    end
    return value
  end
end
