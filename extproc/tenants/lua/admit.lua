-- Decides on a request by all limits of its scopes at once, as account.py does.
-- KEYS: of each scope, hash and sorted set.
-- ARGV: tokens, nano-dollars to reserve, ticket, lease (us); of each scope: request rate (per s) and capacity, token rate
--   and capacity, budget (nano-dollars), window (us), spend, its window's end and its generation as last seen. -1: none.
-- Returns: what refuses (0: nothing, 1 requests, 2 tokens, 3 budget), the scope's place, wait (us), limit, remaining,
--   reset (us), now (us); of each scope: spend, its window's end (us), its generation.
local SLACK = 1e-9
local tokens, reserves, ticket, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local scopes = {}
local worst = {0, 0, 0, -1, 0, 0}

local function bucket(b, amount, what, place)
  local missing = math.min(amount, b.capacity) - b.level
  local wait = missing > SLACK * b.capacity and missing / b.rate * 1000000 or 0
  if wait > worst[3] then
    worst = {what, place, wait, b.capacity, b.level, full_in_ms(b.level, b.rate, b.capacity) * 1000}
  end
end

local function read_bucket(level, at, rate, capacity)
  if rate < 0 then return nil end
  return {level = filled(tonumber(level), tonumber(at), rate, capacity), rate = rate, capacity = capacity}
end

local function lapse(scope, held, h)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', held, '-inf', exact(now), 'LIMIT', 0, 1000)) do
    redis.call('ZREM', held, member)
    h = redis.call('HINCRBY', scope, 'h', '-' .. string.match(member, '|(%d+)$'))
  end
  if redis.call('EXISTS', held) == 0 then
    redis.call('HDEL', scope, 'h')
    h = 0
  end
  return h
end

for place = 1, #KEYS / 2 do
  local key, held, arg = KEYS[2 * place - 1], KEYS[2 * place], {}
  for i = 1, 9 do arg[i] = tonumber(ARGV[4 + 9 * (place - 1) + i]) end
  local v = redis.call('HMGET', key, 'rl', 'ra', 'tl', 'ta', 's', 'e', 'g', 'h')
  local scope = {key = key, held = held, budget = arg[5]}
  scope.requests = read_bucket(v[1], v[2], arg[1], arg[2])
  scope.tokens = read_bucket(v[3], v[4], arg[3], arg[4])
  scope.s, scope.e, scope.g = spend_of(v[5], v[6], v[7], arg[7], arg[8], arg[9])
  scope.restored = scope.s > (scope.e == tonumber(v[6] or 0) and tonumber(v[5] or 0) or 0)
  scope.e = (math.floor(now / arg[6]) + 1) * arg[6]
  if scope.requests then bucket(scope.requests, 1, 1, place) end
  if scope.tokens then bucket(scope.tokens, tokens, 2, place) end
  local h = tonumber(v[8] or 0)
  if h > 0 then h = lapse(key, held, h) end
  if scope.budget >= 0 and scope.s + h >= scope.budget and scope.e - now > worst[3] then
    worst = {3, place, scope.e - now, scope.budget, 0, scope.e - now}
  end
  scopes[place] = scope
end

local admitted = worst[1] == 0
local least
for place, scope in ipairs(scopes) do
  local fields = {'s', exact(scope.s), 'e', exact(scope.e), 'g', exact(scope.g)}
  local ms = math.max(scope.e - now, lease) / 1000
  for name, b in pairs({r = scope.requests, t = scope.tokens}) do
    b.level = b.level - (admitted and (name == 'r' and 1 or tokens) or 0)
    for field, value in pairs({l = b.level, a = now, r = b.rate, c = b.capacity}) do
      table.insert(fields, name .. field)
      table.insert(fields, exact(value))
    end
    ms = math.max(ms, full_in_ms(b.level, b.rate, b.capacity))
  end
  if admitted or scope.restored then
    redis.call('HSET', scope.key, unpack(fields))
    if admitted and reserves > 0 then
      redis.call('HINCRBY', scope.key, 'h', ARGV[2])
      redis.call('ZADD', scope.held, exact(now + lease), ticket .. '|' .. ARGV[2])
    end
    expire(scope.key, scope.held, ms)
  end
end

if admitted then
  for _, name in ipairs({'requests', 'tokens'}) do
    for _, scope in ipairs(scopes) do
      local b = scope[name]
      if b and not (least and least.level <= b.level) then least = b end
    end
    if least then break end
  end
  if least then
    worst = {0, 0, 0, least.capacity, least.level, full_in_ms(least.level, least.rate, least.capacity) * 1000}
  end
end

local left = math.max(0, math.floor(worst[5] + SLACK * math.max(0, worst[4])))
local reply = {worst[1], worst[2], math.ceil(worst[3]), math.floor(worst[4]), left, math.ceil(worst[6]), now}
for _, scope in ipairs(scopes) do
  for _, value in ipairs({scope.s, scope.e, scope.g}) do table.insert(reply, value) end
end
return reply
