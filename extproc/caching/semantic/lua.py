"""What Redis does in one go. ARGV begins with the prefix, the holder and the scope.

The keys of a place follow from the numbers of flushes, which only Redis knows, so no KEYS are declared: a cluster that
spreads keys over servers cannot run these.
"""

from __future__ import annotations

LAYOUT = "semantic:v2:"
"""Begins all keys, after the prefix. Entries of another layout are not found, and expire."""

_PLACE = (
    """
local prefix, holder, scope = ARGV[1], ARGV[2], ARGV[3]
local root = prefix .. '"""
    + LAYOUT
    + """'
local place = (redis.call('GET', prefix .. 'flushes') or '0') .. '_' ..
  (redis.call('GET', prefix .. 'flushes:' .. holder) or '0') .. '_' .. scope
local base, used, untils = root .. 'place:' .. place, root .. 'used', root .. 'until'
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local most_dropped = 1000

local function changed(base, suffix, key)
  if redis.call('HSETNX', base, 'v', string.format('%.0f', now_ms * 1000)) == 0 then
    redis.call('HINCRBY', base, 'v', 1)
  end
  redis.call('ZADD', base .. suffix, redis.call('HGET', base, 'v'), key)
end

local function drop(member)
  local place, key = string.match(member, '^(.*):(.*)$')
  local base = root .. 'place:' .. place
  redis.call('DEL', root .. 'entry:' .. member)
  redis.call('ZREM', used, member)
  redis.call('ZREM', untils, member)
  if redis.call('ZREM', base .. ':live', key) == 0 or redis.call('EXISTS', base) == 0 then return end
  changed(base, ':dropped', key)
  redis.call('PEXPIRE', base .. ':dropped', math.max(1, redis.call('PTTL', base)))
  if redis.call('ZCARD', base .. ':dropped') > most_dropped then
    local oldest = redis.call('ZRANGE', base .. ':dropped', 0, 0, 'WITHSCORES')
    redis.call('HSET', base, 'floor', string.format('%.0f', tonumber(oldest[2])))
    redis.call('ZREM', base .. ':dropped', oldest[1])
  end
end

local function lives(key, ttl_ms)
  if ttl_ms > redis.call('PTTL', key) then redis.call('PEXPIRE', key, ttl_ms) end
end
"""
)

ANSWER = (
    _PLACE
    + """
local member = place .. ':' .. ARGV[4]
for _, old in ipairs(redis.call('ZRANGEBYSCORE', untils, '-inf', now_ms, 'LIMIT', 0, 20)) do drop(old) end
local answer = redis.call('HGET', root .. 'entry:' .. member, 'answer')
if answer then redis.call('ZADD', used, 'XX', now_ms, member) end
return {place, redis.call('HGET', base, 'v') or '0', answer}
"""
)

PUT = (
    _PLACE
    + """
local key, question, dims, vector, answer = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local ttl_ms, most = tonumber(ARGV[9]), tonumber(ARGV[10])
local member = place .. ':' .. key
local entry = root .. 'entry:' .. member
local fields = {'place', place, 'question', question, 'answer', answer}
if dims ~= '0' then
  for _, part in ipairs({'dims', dims, 'v' .. dims, vector}) do fields[#fields + 1] = part end
end
local learned = redis.call('HGET', entry, 'learned')
if learned then
  for _, part in ipairs({'learned', learned}) do fields[#fields + 1] = part end
end
redis.call('DEL', entry)
redis.call('HSET', entry, unpack(fields))
redis.call('PEXPIRE', entry, ttl_ms)
redis.call('ZREM', base .. ':dropped', key)
changed(base, ':live', key)
redis.call('ZADD', used, now_ms, member)
redis.call('ZADD', untils, now_ms + ttl_ms, member)
for _, name in ipairs({base, base .. ':live', used, untils}) do lives(name, ttl_ms) end
local over = redis.call('ZCARD', used) - most
if over > 0 then
  for _, old in ipairs(redis.call('ZRANGE', used, 0, math.min(over, 100) - 1)) do drop(old) end
end
return 1
"""
)

OBSERVE = (
    _PLACE
    + """
local key, seen, most = ARGV[4], ARGV[5], tonumber(ARGV[6])
local entry = root .. 'entry:' .. place .. ':' .. key
if redis.call('EXISTS', entry) == 0 then return 0 end
local all = (redis.call('HGET', entry, 'learned') or '') .. seen
redis.call('HSET', entry, 'learned', string.sub(all, -most))
changed(base, ':live', key)
for _, name in ipairs({base, base .. ':live'}) do lives(name, redis.call('PTTL', entry)) end
return 1
"""
)

CHANGES = (
    _PLACE
    + """
local since, most = ARGV[4], tonumber(ARGV[5])
local floor = redis.call('HGET', base, 'floor')
if floor and since ~= '0' and tonumber(since) < tonumber(floor) then return {1, {}, {}} end
local live, dropped, upto = {}, {}, '+inf'
local rows = redis.call('ZRANGEBYSCORE', base .. ':live', '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, most)
for i = 1, #rows, 2 do
  local entry = root .. 'entry:' .. place .. ':' .. rows[i]
  local version = string.format('%.0f', tonumber(rows[i + 1]))
  local held = redis.call('HMGET', entry, 'question', 'dims', 'learned')
  live[#live + 1] = {rows[i], version, held[1], held[2] and redis.call('HGET', entry, 'v' .. held[2]), held[3]}
  if #live == most then upto = version end
end
rows = redis.call('ZRANGEBYSCORE', base .. ':dropped', '(' .. since, upto, 'WITHSCORES')
for i = 1, #rows, 2 do
  dropped[#dropped + 1] = {rows[i], string.format('%.0f', tonumber(rows[i + 1]))}
end
return {0, live, dropped}
"""
)
