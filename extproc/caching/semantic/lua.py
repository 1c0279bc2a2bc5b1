"""What Redis does in one go. ARGV begins with the prefix, the holder and the scope.

The keys of a place follow from the numbers of flushes, which only Redis knows, so no KEYS are declared: a cluster that
spreads keys over servers cannot run these.
"""

from __future__ import annotations

_PLACE = """
local prefix, holder, scope = ARGV[1], ARGV[2], ARGV[3]
local base = prefix .. 'semantic:' .. (redis.call('GET', prefix .. 'flushes') or '0') .. ':' ..
  (redis.call('GET', prefix .. 'flushes:' .. holder) or '0') .. ':' .. scope
local used = prefix .. 'semantic:used'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function drop(place, key)
  redis.call('HDEL', place, key)
  redis.call('HDEL', place .. ':a', key)
  redis.call('HDEL', place .. ':o', key)
  redis.call('ZREM', place .. ':z', key)
  redis.call('ZREM', place .. ':x', key)
  redis.call('ZREM', used, place .. ' ' .. key)
end

local function changed(key)
  if redis.call('HSETNX', base, 'v', string.format('%.0f', now_ms * 1000)) == 0 then
    redis.call('HINCRBY', base, 'v', 1)
  end
  redis.call('ZADD', base .. ':z', redis.call('HGET', base, 'v'), key)
end
"""

ANSWER = (
    _PLACE
    + """
local key = ARGV[4]
for _, old in ipairs(redis.call('ZRANGEBYSCORE', base .. ':x', '-inf', now_ms, 'LIMIT', 0, 20)) do drop(base, old) end
local until_ms = redis.call('ZSCORE', base .. ':x', key)
if until_ms and tonumber(until_ms) <= now_ms then drop(base, key) end
local answer = redis.call('HGET', base .. ':a', key)
if answer then redis.call('ZADD', used, 'XX', now_ms, base .. ' ' .. key) end
return {base, redis.call('HGET', base, 'v') or '0', answer}
"""
)

PUT = (
    _PLACE
    + """
local key, blob, answer, ttl_ms, most = ARGV[4], ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
redis.call('HSET', base, key, blob)
redis.call('HSET', base .. ':a', key, answer)
redis.call('ZADD', base .. ':x', now_ms + ttl_ms, key)
changed(key)
redis.call('ZADD', used, now_ms, base .. ' ' .. key)
for _, suffix in ipairs({'', ':a', ':o', ':z', ':x'}) do redis.call('PEXPIRE', base .. suffix, ttl_ms) end
redis.call('PEXPIRE', used, ttl_ms)
local over = redis.call('ZCARD', used) - most
if over > 0 then
  for _, member in ipairs(redis.call('ZRANGE', used, 0, math.min(over, 100) - 1)) do
    local at = string.find(member, ' ', 1, true)
    if at then drop(string.sub(member, 1, at - 1), string.sub(member, at + 1)) end
    redis.call('ZREM', used, member)
  end
end
return 1
"""
)

OBSERVE = (
    _PLACE
    + """
local key, seen, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
if redis.call('HEXISTS', base, key) == 0 then return 0 end
local all = (redis.call('HGET', base .. ':o', key) or '') .. seen
redis.call('HSET', base .. ':o', key, string.sub(all, -most))
redis.call('PEXPIRE', base .. ':o', math.max(1, redis.call('PTTL', base)))
changed(key)
return 1
"""
)

CHANGES = (
    _PLACE
    + """
local since, most = ARGV[4], ARGV[5]
local found = {}
local rows = redis.call('ZRANGEBYSCORE', base .. ':z', '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #rows, 2 do
  local key = rows[i]
  local version = string.format('%.0f', tonumber(rows[i + 1]))
  found[#found + 1] = {key, version, redis.call('HGET', base, key), redis.call('HGET', base .. ':o', key)}
end
return found
"""
)
