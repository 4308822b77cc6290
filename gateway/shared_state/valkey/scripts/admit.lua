-- Admit one request of a virtual key under all of its limits, or refuse it and count nothing.
--
-- KEYS: the key's requests, tokens, places.
-- ARGV: requests and tokens a window, requests at once (-1: no such limit); the tokens of this one; window and grain
--       in milliseconds; what its place is called; milliseconds that a place is held without being renewed.
-- Returns: what refuses it ('' if nothing), milliseconds until it can be admitted (-1: never), the grain it counts in,
--          requests left, milliseconds until all of them are, tokens left, milliseconds until all of them are.

local rpm, tpm, parallel, tokens = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
window, grain = tonumber(ARGV[5]), tonumber(ARGV[6])
local requests, spent, places = KEYS[1], KEYS[2], KEYS[3]
local this, asked, used = math.floor(now / grain), 0, 0

if rpm >= 0 then
    this = current(requests)
    asked = held(requests)
end
if tpm >= 0 then
    this = math.max(this, current(spent))
    used = held(spent)
end

local function answer(refused, wait)
    local requests_reset, tokens_reset = 0, 0
    if rpm >= 0 then requests_reset = empty_in(requests) end
    if tpm >= 0 then tokens_reset = empty_in(spent) end
    return {refused, wait, this, math.max(0, rpm - asked), requests_reset, math.max(0, tpm - used), tokens_reset}
end

if rpm >= 0 and asked >= rpm then
    if rpm < 1 then return answer('rpm', -1) end
    return answer('rpm', room_in(requests, asked + 1 - rpm))
end
if tpm >= 0 and used + tokens > tpm then
    if tokens > tpm then return answer('tpm', -1) end
    return answer('tpm', room_in(spent, used + tokens - tpm))
end
if parallel >= 0 then
    redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
    if redis.call('ZCARD', places) >= parallel then return answer('parallel', -1) end
    redis.call('ZADD', places, now + ARGV[8], ARGV[7])
    redis.call('PEXPIRE', places, ARGV[8])
end
if rpm >= 0 then
    count(requests, 1, this)
    asked = asked + 1
end
if tpm >= 0 then
    count(spent, tokens, this)
    used = used + tokens
end
return answer('', 0)
