-- Count what was let in while this server could not be asked, or was counted here and lost.
--
-- KEYS: a window. ARGV: window and grain in milliseconds; then pairs: how many milliseconds ago, and how much.
-- Returns nothing.

window, grain = tonumber(ARGV[1]), tonumber(ARGV[2])
local this = current(KEYS[1])
held(KEYS[1])
local first = math.floor((now - window) / grain)
for index = 3, #ARGV, 2 do
    local number = math.min(this, math.floor((now - ARGV[index]) / grain))
    if number >= first then count(KEYS[1], tonumber(ARGV[index + 1]), number) end
end
