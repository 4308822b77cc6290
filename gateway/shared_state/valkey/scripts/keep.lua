-- Tell all gateways something, and keep it for those that did not hear it.
--
-- KEYS: what is kept, its version. ARGV: the name it is kept by; milliseconds that it is kept; the channel; the message,
-- of which the version goes first. Returns the version: a time in microseconds that never goes back, so that it also
-- grows when all of this was lost.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local version = math.max(clock[1] * 1000000 + clock[2], tonumber(redis.call('GET', KEYS[2]) or '0') + 1)
local written = string.format('%.0f', version)
redis.call('SET', KEYS[2], written)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %s ', now + ARGV[2], now, written) .. ARGV[4])
redis.call('PUBLISH', ARGV[3], written .. ' ' .. ARGV[4])
return written
