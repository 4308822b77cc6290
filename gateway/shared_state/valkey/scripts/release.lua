-- Settle a request that has ended: its place is free; tokens that were reserved in excess go back to where they were
-- counted, tokens beyond the reservation count from now.
--
-- KEYS: the key's tokens, places. ARGV: the place's name ('': none); the grain it counts in; tokens used beyond the
-- reservation (negative: to be given back); window and grain in milliseconds. Returns nothing.

window, grain = tonumber(ARGV[4]), tonumber(ARGV[5])
local more, spent = tonumber(ARGV[3]), KEYS[1]
if ARGV[1] ~= '' then redis.call('ZREM', KEYS[2], ARGV[1]) end
if more ~= 0 then
    local this = current(spent)
    held(spent)
    if more > 0 then
        count(spent, more, this)
    else
        local back = math.min(-more, tonumber(redis.call('HGET', spent, ARGV[2]) or '0'))
        if back > 0 then
            redis.call('HINCRBY', spent, ARGV[2], -back)
            redis.call('HINCRBY', spent, 'total', -back)
        end
    end
end
