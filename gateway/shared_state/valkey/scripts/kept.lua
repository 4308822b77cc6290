-- Everything that is kept. What is over is forgotten.
--
-- KEYS: what is kept, its version. Returns the version, then for each: its version, milliseconds since it was told, the
-- message.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found, answer = redis.call('HGETALL', KEYS[1]), {redis.call('GET', KEYS[2]) or '0'}
for index = 1, #found, 2 do
    local ends, told, version, message = string.match(found[index + 1], '^(%d+) (%d+) (%d+) (.*)$')
    if ends and tonumber(ends) > now then
        answer[#answer + 1] = version
        answer[#answer + 1] = math.max(0, now - tonumber(told))
        answer[#answer + 1] = message
    else
        redis.call('HDEL', KEYS[1], found[index])
    end
end
return answer
