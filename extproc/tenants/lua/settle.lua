-- Takes in what requests of one tenant have really used, added up by one instance; a batch that comes again changes
-- nothing.
-- KEYS: where the number of the instance's last batch is kept; of each scope, hash and sorted set.
-- ARGV: number of the batch, for how long to remember it (ms); of each scope: tokens to give back (below zero: to take),
--   nano-dollars spent, end (us) of the window that they were spent in, spend, its window's end and its generation as
--   last seen, how many reservations have ended, and those, as members of the sorted set.
-- Returns: now (us); of each scope: spend, its window's end (us), its generation.
local repeated = tonumber(redis.call('GET', KEYS[1]) or 0) >= tonumber(ARGV[1])
if not repeated then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
local reply, place = {now}, 3

for key = 2, #KEYS, 2 do
  local scope, held, arg = KEYS[key], KEYS[key + 1], {}
  for i = 1, 7 do arg[i] = tonumber(ARGV[place + i - 1]) end
  place = place + 7
  local v = redis.call('HMGET', scope, 's', 'e', 'g', 'tl', 'ta', 'tr', 'tc')
  local s, e, g = spend_of(v[1], v[2], v[3], arg[4], arg[5], arg[6])
  if not repeated then
    local ends, ms = arg[3], 0
    if ends > now then -- else that window is over, and nothing depends on it any more
      s = s + arg[2]
      if e == 0 then e = ends end
    end
    local fields = {'s', exact(s), 'e', exact(e), 'g', exact(g)}
    if v[4] and arg[1] ~= 0 then
      local rate, capacity = tonumber(v[6]), tonumber(v[7])
      local level = math.min(capacity, filled(tonumber(v[4]), tonumber(v[5]), rate, capacity) + arg[1])
      for name, value in pairs({tl = level, ta = now}) do
        table.insert(fields, name)
        table.insert(fields, exact(value))
      end
      ms = full_in_ms(level, rate, capacity)
    end
    redis.call('HSET', scope, unpack(fields))
    for i = place, place + arg[7] - 1 do
      if redis.call('ZREM', held, ARGV[i]) == 1 then
        redis.call('HINCRBY', scope, 'h', '-' .. string.match(ARGV[i], '|(%d+)$'))
      end
    end
    expire(scope, held, math.max(ms, (e - now) / 1000, 0))
  end
  place = place + arg[7]
  for _, value in ipairs({s, e, g}) do table.insert(reply, value) end
end
return reply
