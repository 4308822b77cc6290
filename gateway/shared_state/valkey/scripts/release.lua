-- Settle a request that has ended: its place is free; tokens that were reserved in excess go back to where they were
-- counted, tokens beyond the reservation count from now.
--
-- KEYS: the key's requests, tokens, places. ARGV: the place's name ('': none); the grain it counts in; requests to be
-- given back: 1 of one that was not let in by this after all; tokens used beyond the reservation (negative: to be given
-- back); window and grain in milliseconds. Returns nothing.

window, grain = tonumber(ARGV[5]), tonumber(ARGV[6])
local more, spent = tonumber(ARGV[4]), KEYS[2]

local function give_back(key, amount)
    local back = math.min(amount, tonumber(redis.call('HGET', key, ARGV[2]) or '0'))
    if back > 0 then
        redis.call('HINCRBY', key, ARGV[2], -back)
        redis.call('HINCRBY', key, 'total', -back)
    end
end

if ARGV[1] ~= '' then redis.call('ZREM', KEYS[3], ARGV[1]) end
if ARGV[3] ~= '0' then
    held(KEYS[1])
    give_back(KEYS[1], 1)
end
if more ~= 0 then
    local this = current(spent)
    held(spent)
    if more > 0 then
        count(spent, more, this)
    else
        give_back(spent, -more)
    end
end
