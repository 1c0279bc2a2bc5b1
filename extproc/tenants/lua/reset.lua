-- Forgets what a scope has spent and fills its buckets; reservations stay.
-- KEYS: hash and sorted set.
-- The generation tells instances that what they saw before is void, and so must outlast the longest window they saw.
local REMEMBER_MS = 31 * 86400000
redis.call('HDEL', KEYS[1], 'rl', 'ra', 'rr', 'rc', 'tl', 'ta', 'tr', 'tc')
redis.call('HSET', KEYS[1], 's', '0', 'g', exact(now))
expire(KEYS[1], KEYS[2], REMEMBER_MS)
return {now}
