-- Say that a gateway lives, and learn which others do and whether there is something new to be read.
--
-- KEYS: gateways, epoch, version. ARGV: the gateway's id; milliseconds that it counts as alive; the epoch to begin if
-- there is none. Returns: the version of what is kept, the epoch (another one: everything was lost), and the ids of the
-- gateways that live.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('SETNX', KEYS[2], ARGV[3])
return {redis.call('GET', KEYS[3]) or '0', redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, -1)}
