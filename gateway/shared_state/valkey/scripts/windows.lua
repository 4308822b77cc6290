-- What the scripts of the limits begin with: the server's time, and windows that slide over it.
--
-- A window is a hash: amounts by grain of time (whole numbers), and `total`, `oldest`, `newest` of them. A grain leaves
-- when its last millisecond is a window old, so no window of time ever holds more than was let in, and what was let in
-- comes free up to a grain late. This is what core/limits/key_limits.py does in memory.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)  -- milliseconds
local window, grain  -- milliseconds; a script sets them first

-- The grain of this moment. A clock that went back by less than a window stands still; one that had been wrong by more
-- begins the window anew.
local function current(key)
    local this, newest = math.floor(now / grain), tonumber(redis.call('HGET', key, 'newest') or '0')
    if newest <= this then return this end
    if newest - this <= window / grain then return newest end
    redis.call('DEL', key)
    return this
end

-- The amounts of some grains, oldest first, '0' where there is none.
local function amounts(key, from, to)
    local names = {}
    for number = from, to do names[#names + 1] = number end
    if #names == 0 then return names, names end
    return names, redis.call('HMGET', key, unpack(names))
end

-- What the window holds, once what is too old has left it.
local function held(key)
    local found = redis.call('HMGET', key, 'total', 'oldest', 'newest')
    if not found[1] then return 0 end
    local total, oldest, newest = tonumber(found[1]), tonumber(found[2]), tonumber(found[3])
    local first = math.floor((now - window) / grain)  -- of those that stay
    if oldest >= first then return total end
    if newest < first then
        redis.call('DEL', key)
        return 0
    end
    local names, values = amounts(key, oldest, first - 1)
    for index = 1, #names do total = total - tonumber(values[index] or '0') end
    redis.call('HDEL', key, unpack(names))
    redis.call('HSET', key, 'total', total, 'oldest', first)
    return total
end

-- Count an amount in a grain: the current one, or one of before. `held` or `current` has been asked first.
local function count(key, amount, number)
    redis.call('HINCRBY', key, number, amount)
    redis.call('HINCRBY', key, 'total', amount)
    redis.call('HSETNX', key, 'oldest', number)
    redis.call('HSETNX', key, 'newest', number)
    if tonumber(redis.call('HGET', key, 'newest')) < number then redis.call('HSET', key, 'newest', number) end
    if tonumber(redis.call('HGET', key, 'oldest')) > number then redis.call('HSET', key, 'oldest', number) end
    redis.call('PEXPIRE', key, window + 2 * grain)
end

-- Milliseconds until at least `excess` of the sum has left the window.
local function room_in(key, excess)
    local found = redis.call('HMGET', key, 'oldest', 'newest')
    if not found[1] then return 0 end
    local names, values = amounts(key, tonumber(found[1]), tonumber(found[2]))
    for index = 1, #names do
        excess = excess - tonumber(values[index] or '0')
        if excess <= 0 then return math.max(0, (names[index] + 1) * grain + window - now) end
    end
    return window
end

-- Milliseconds until the window is empty again.
local function empty_in(key)
    local newest = redis.call('HGET', key, 'newest')
    if not newest then return 0 end
    return math.max(0, (newest + 1) * grain + window - now)
end
