-- One bucket that nodes share. KEYS[1] holds the units in use, and when that was so.
-- ARGV: capacity; units that come back in a microsecond; units used already (below zero: given
-- back); units wanted. Answers the units granted, those left, and microseconds until the next one
-- is there (0 if one is).
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'used', 'at')
local used = tonumber(state[1]) or 0
local at = tonumber(state[2]) or now
used = math.max(0, used - math.max(0, now - at) * rate)
used = math.max(0, used + tonumber(ARGV[3]))
-- A rounding error must not hold a unit back.
local free = capacity - used + 1e-6
local granted = math.max(0, math.min(tonumber(ARGV[4]), math.floor(free)))
used = used + granted
free = free - granted
redis.call('HSET', KEYS[1], 'used', string.format('%.17g', used), 'at', string.format('%.0f', now))
-- A full bucket is as good as none.
redis.call('PEXPIRE', KEYS[1], math.ceil(used / rate / 1000) + 1000)
local wait = 0
if free < 1 then wait = math.ceil((1 - free) / rate) end
return {granted, math.max(0, math.floor(free)), wait}
