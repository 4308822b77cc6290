-- Hold on to the places of a key's requests that still run. A place that is not renewed is free once its time is over,
-- so those of a gateway that died come back by themselves.
--
-- KEYS: the key's places. ARGV: milliseconds that they are held; their names. Returns nothing.

local clock = redis.call('TIME')
local lasts = clock[1] * 1000 + math.floor(clock[2] / 1000) + ARGV[1]
for index = 2, #ARGV do redis.call('ZADD', KEYS[1], lasts, ARGV[index]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
