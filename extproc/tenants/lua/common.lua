-- Stands before each script. A scope, that is a tenant or a key, is two keys.
-- A hash: rl ra rr rc, the request bucket: level, when (us), rate per s, capacity; tl ta tr tc, the token bucket;
--   s, nano-dollars spent in the window that ends at e (us); g, the generation of s: when it was reset last (us);
--   h, nano-dollars reserved.
-- A sorted set: 'ticket|nano-dollars' of each reservation, by when it lapses (us).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local MARGIN_MS = 60000

-- Lua's own tostring keeps 14 digits.
local function exact(x)
  return string.format('%.17g', x)
end

local function expire(scope, held, ms)
  ms = math.ceil(ms) + MARGIN_MS
  for _, key in ipairs({scope, held}) do
    if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, exact(ms)) end
  end
end

-- The spend of the window that is now, no lower than the caller saw it: a Redis that has restarted empty is told what
-- it knew. What was seen before a reset counts no more. Returns spend, end (0: no window known), generation.
local function spend_of(s, e, g, seen_s, seen_e, seen_g)
  s, e, g = tonumber(s or 0), tonumber(e or 0), tonumber(g or 0)
  if e <= now then s, e = 0, 0 end
  if seen_e > now and (e == 0 or e == seen_e) then
    if seen_g > g then
      s, e, g = seen_s, seen_e, seen_g
    elseif seen_g == g and seen_s > s then
      s, e = seen_s, seen_e
    end
  end
  return s, e, g
end

local function filled(level, at, rate, capacity)
  if not level then return capacity end
  return math.min(capacity, level + rate * math.max(0, now - at) / 1000000)
end

local function full_in_ms(level, rate, capacity)
  return math.max(0, capacity - level) / rate * 1000
end
