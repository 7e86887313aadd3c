-- Hosts come, beat, drain, fall silent and go; and all that time brings about.

-- nil, or what is wrong with what a host offers.
local function problem_with_offers(offers)
  if type(offers) ~= 'table' then return 'offers is not a list' end
  local function word(value) return type(value) == 'string' and #value <= 200 and value:find('^[%w./_-]+$') end
  for _, offer in ipairs(offers) do
    if type(offer) ~= 'table' or not (word(offer.os) and word(offer.version) and word(offer.language))
      or type(offer.language_versions) ~= 'table' then
      return 'an offer is an operating system with its version, and a language with its versions'
    end
    for _, version in ipairs(offer.language_versions) do
      if not word(version) then return 'the version of a language is letters, digits and . / _ -' end
    end
  end
end

-- nil, or what is wrong with an inventory.
local function problem_with(inventory)
  if type(inventory) ~= 'table' then return 'it is not an object' end
  local function amount(value)
    return type(value) == 'number' and value >= 0 and value <= LARGEST and value == math.floor(value)
  end
  for _, name in ipairs({ 'cpu_milli', 'ram_mib', 'storage_mib' }) do
    if not amount(inventory[name]) then return name .. ' is not a whole number from 0 up' end
  end
  if type(inventory.gpus) ~= 'table' then return 'gpus is not a list' end
  local seen, parents = {}, {}
  for _, gpu in ipairs(inventory.gpus) do
    if type(gpu) ~= 'table' or type(gpu.uuid) ~= 'string' or not gpu.uuid:find('^[%w_./:-]+$') or #gpu.uuid > 100 then
      return 'the UUID of a GPU has 1 to 100 letters, digits and _ . / : -'
    end
    local problem = 'GPU ' .. gpu.uuid
    if seen[gpu.uuid] then return problem .. ' is listed twice' end
    seen[gpu.uuid] = true
    if not amount(gpu.memory_mib) then return problem .. ': memory_mib is not a whole number from 0 up' end
    if type(gpu.model) ~= 'string' or gpu.model:find('%c') or #gpu.model > 100 then return problem .. ': model is no short text' end
    if gpu.island and not amount(gpu.island) then return problem .. ': island is not a whole number from 0 up' end
    if gpu.parent and (type(gpu.parent) ~= 'string' or not gpu.parent:find('^[%w_./:-]*$')) then
      return problem .. ': parent is not a UUID'
    end
    if gpu.parent then parents[gpu.parent] = true end
  end
  for uuid in pairs(seen) do
    if parents[uuid] then return 'GPU ' .. uuid .. ' is cut into MIG devices and is listed itself' end
  end
  return problem_with_offers(inventory.offers or {})
end

-- What a host has in all, and the systems that it makes. Storage that it cannot limit it does not have, nor sick GPUs.
local function kind_text(inventory)
  local counts, classes = {}, {}
  for _, gpu in ipairs(inventory.gpus) do
    if gpu.healthy ~= false then
      local class = int(gpu.memory_mib) .. ':' .. gpu.model:gsub('[=;|]', ' ')
      if not counts[class] then classes[#classes + 1] = class end
      counts[class] = (counts[class] or 0) + 1
    end
  end
  table.sort(classes)
  for i, class in ipairs(classes) do classes[i] = class .. '=' .. counts[class] .. ';' end
  local offers = {}
  for i, offer in ipairs(inventory.offers or {}) do
    offers[i] = table.concat({ offer.os, offer.version, offer.language, unpack(offer.language_versions) }, ' ') .. ';'
  end
  return table.concat({ int(inventory.cpu_milli), int(inventory.ram_mib),
    int(inventory.storage_limit ~= '' and inventory.storage_mib or 0), table.concat(classes), table.concat(offers) }, '|')
end

-- What the host had not begun to start goes back to the queue: nothing of it can be running. What was being started may
-- have a container; only its host can see to that, and gives it back itself. The caller recomputes the host.
local function give_all_back(P, name, reason, now)
  local owners = {}
  for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
    local env = load_env(P, id)
    if env and CONTAINERLESS[env.state] then
      give_back(P, name, id, env, reason, '', now)
      owners[env.owner] = true
    end
  end
  return owners
end

local function unpark_all(P, owners)
  for owner in pairs(owners) do unpark(P, owner) end
end

-- register name machine instance lease_ms inventory → epoch
local function register(P, name, machine, instance, lease, text)
  if #name > 63 or not name:find('^[a-z0-9][a-z0-9.-]*$') or name:find('[.-]$') then
    return bad('a host name has 1 to 63 of a-z, 0-9, . and -, and begins and ends with a letter or digit')
  end
  if not integer(lease, 1, LARGEST) then return bad('a lease is a whole number of ms above 0') end
  local readable, inventory = pcall(cjson.decode, text)
  local problem = not readable and 'it is not JSON' or problem_with(inventory)
  if problem then return bad('the inventory of host ' .. name .. ' makes no sense: ' .. problem) end
  local known, now, key = load_host(P, name), time_ms(), P .. ':host:' .. name
  local lease_end = tonumber(redis.call('ZSCORE', P .. ':hosts', name) or '0')
  if known and lease_end > now and known.machine ~= machine then
    return fail('TAKEN', 'Host name ' .. name .. ' belongs to a live worker on another machine')
  end
  local host = known or { drain = '0', listed = '', kind = '', classes = '', reserved = '', free_gpus = '0' }
  local newcomer = host.instance ~= instance
  if newcomer then
    host.epoch = next_token(P, now)
    redis.call('HSET', key, 'machine', machine, 'instance', instance, 'epoch', host.epoch, 'drain', host.drain,
      'reserved', host.reserved, 'pinned', '1', 'claim_by', '', 'claim_id', '')
  end
  local kind, gpus = kind_text(inventory), math.max(#inventory.gpus, 1)
  index_kind(P, name, host.kind, kind)
  host.state, host.kind, host.gpu_cpu = 'ready', kind, int(inventory.cpu_milli / gpus)
  redis.call('HSET', key, 'lease', lease, 'state', 'ready', 'inventory', text, 'kind', kind, 'gpu_cpu', host.gpu_cpu)
  redis.call('ZADD', P .. ':hosts', now + lease, name)
  settle_gpus(P, name, host)
  if host.reserved ~= '' then
    local env = load_fields(P .. ':env:' .. host.reserved, { 'shape', 'pin' })
    if not could_begin(host, shape_of(env.shape), env.pin ~= '') then
      unreserve(P, host.reserved)
      host.reserved = ''
    end
  end
  local owners = newcomer and give_all_back(P, name, 'worker_restarted', now) or {}
  recompute(P, name, host)
  unpark_all(P, owners)
  return host.epoch
end

-- heartbeat name epoch → "ready" or "draining"
local function heartbeat(P, name, epoch)
  local host = load_fields(P .. ':host:' .. name, { 'epoch', 'lease', 'state', 'drain' })
  local err = refusal(name, host.epoch, epoch)
  if err then return err end
  redis.call('ZADD', P .. ':hosts', time_ms() + host.lease, name)
  if host.state ~= 'ready' then
    redis.call('HSET', P .. ':host:' .. name, 'state', 'ready')
    local full = load_host(P, name)
    settle_gpus(P, name, full)
    settle(P, name, full)
  end
  return host.drain == '1' and 'draining' or 'ready'
end

-- drain name flag [seen] → OK
local function drain(P, name, flag, seen)
  local host = load_host(P, name)
  if not host then return unknown_host(name) end
  if flag ~= '0' and flag ~= '1' then return bad('drain takes 0 or 1') end
  local problem = host.drain ~= flag and another_version(version_of(P, name), seen)
  if problem then return problem end
  host.drain = flag
  redis.call('HSET', P .. ':host:' .. name, 'drain', flag)
  settle(P, name, host)
  return 'OK'
end

-- Remove a lost host and end what it held.
local function remove_host(P, name, host, now)
  local owners = {}
  for _, id in ipairs(redis.call('HKEYS', P .. ':allocs:' .. name)) do
    local env = load_env(P, id)
    owners[env.owner] = true
    if env.state == 'queued' then
      dequeue(P, id, env)
      unreserve(P, id)
    end
    deallocate(P, name, id, env)
    if env.state == 'deleting' then
      finish(P, id, env, { state = 'deleted', message = 'Deleted' }, now)
    else
      finish(P, id, env, { state = 'failed', reason = 'host_lost', message = 'Host ' .. name .. ' will not return' }, now)
    end
  end
  if host.reserved ~= '' then unreserve(P, host.reserved) end
  index_kind(P, name, host.kind, '')
  local gpus = redis.call('HGETALL', P .. ':gpus')
  for i = 1, #gpus, 2 do
    if gpus[i + 1] == name then redis.call('HDEL', P .. ':gpus', gpus[i]) end
  end
  redis.call('DEL', P .. ':host:' .. name, P .. ':wake:' .. name, P .. ':missed:' .. name, P .. ':celery:host.' .. name)
  redis.call('ZREM', P .. ':hosts', name)
  unpark_all(P, owners)
end

-- forget name force [seen] → 1, or 0 where it is not known; a lost host leaves the ledger, by force with all that it held
local function forget(P, name, force, seen)
  local host = load_host(P, name)
  if not host then return 0 end
  local problem = another_version(version_of(P, name), seen)
  if problem then return problem end
  if host.state ~= 'lost' then return fail('ILLEGAL', 'Host ' .. name .. ' is ' .. host.state .. '; only a lost one is forgotten') end
  local count = redis.call('HLEN', P .. ':allocs:' .. name)
  if count > 0 and force ~= '1' then
    return fail('ILLEGAL', 'Host ' .. name .. ' still holds ' .. int(count) .. ' environments; delete these, or let them fail by force')
  end
  remove_host(P, name, host, time_ms())
  return 1
end

local function lose(P, name, lease_end, now)
  redis.call('ZADD', P .. ':hosts', -lease_end, name)
  redis.call('HSET', P .. ':host:' .. name, 'state', 'lost')
  recompute(P, name, load_host(P, name)) -- what it gives back wakes another
  local owners = give_all_back(P, name, 'host_lost', now)
  recompute(P, name, load_host(P, name))
  unpark_all(P, owners)
end

local function forget_record(P, id)
  local env = load_fields(P .. ':env:' .. id, { 'owner', 'request' })
  local owner, request = env.owner, env.request or ''
  if request ~= '' then redis.call('DEL', P .. ':request:' .. owner .. ':' .. request) end
  redis.call('DEL', P .. ':env:' .. id, P .. ':events:' .. id, P .. ':contract:' .. id)
  redis.call('ZREM', P .. ':envs', id)
  redis.call('ZREM', P .. ':envs:' .. owner, id)
  redis.call('ZREM', P .. ':ended', id)
end

-- Whether silence is a host's own. After Redis was away nobody could be heard, and the first sweep would give up all hosts.
local function hosts_can_be_heard(P, now, interval)
  local times = redis.call('HMGET', P .. ':ledger', 'swept', 'patient')
  local swept, patient = tonumber(times[1] or now), tonumber(times[2] or '0')
  if now - swept > math.max(AWAY_MS, 5 * interval) then patient = now + AWAY_MS end
  redis.call('HSET', P .. ':ledger', 'swept', int(now), 'patient', int(patient))
  return now >= patient
end

-- expire limit interval_ms → how many things it did: leases, lifetimes, reservations, records whose time is
-- over; nothing where it was done less than interval_ms ago
local function expire(P, limit, interval)
  if not integer(limit, 1, LARGEST) then return bad('limit is a whole number above 0') end
  if not integer(interval, 0, LARGEST) then return bad('interval is a whole number of ms') end
  if interval ~= '0' and not redis.call('SET', P .. ':swept', '1', 'NX', 'PX', interval) then return 0 end
  local now, done = time_ms(), 0
  local function due(key, low, high, act)
    local members = redis.call('ZRANGEBYSCORE', P .. key, low, high, 'WITHSCORES', 'LIMIT', 0, limit)
    for i = 1, #members, 2 do act(members[i], members[i + 1]) end
    done = done + #members / 2
  end
  if hosts_can_be_heard(P, now, tonumber(interval)) then
    due(':hosts', '(0', int(now - 1), function(name, lease_end) lose(P, name, lease_end, now) end)
  end
  local give_up = config(P, 'give_up_ms', 0)
  if give_up > 0 then
    due(':hosts', '-' .. int(math.max(now - give_up, 0)), '(0', function(name) remove_host(P, name, load_host(P, name), now) end)
  end
  due(':lifetimes', '-inf', int(now), function(id)
    order(P, id, load_env(P, id), { state = 'stopping', reason = 'lifetime_over', message = 'Its lifetime is over', expires = '' })
  end)
  due(':ended', '-inf', int(now), function(id) forget_record(P, id) end)
  local parked = redis.call('HGETALL', P .. ':parked')
  for i = 1, #parked, 2 do
    if parked[i + 1] == '1' then
      unpark(P, parked[i])
      done = done + 1
    end
  end
  drop_passed_tags(P)
  return done + reserve(P, now)
end
