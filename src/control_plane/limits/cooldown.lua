-- The rest of one account. KEYS[1] exists until it is over. ARGV[1]: the milliseconds that a node
-- knows of. A longer rest that another node knows of stays. Answers the milliseconds left.
local left = math.max(redis.call('PTTL', KEYS[1]), 0)
local own = tonumber(ARGV[1])
if own > left then
  redis.call('SET', KEYS[1], 1, 'PX', own)
  return own
end
return left
