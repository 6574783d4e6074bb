-- The sums of a budget in one window, which nodes share. KEYS[1] is a hash: `taken`, `spent`, `extra`
-- and `epoch` as in `Sums`, and `id`, which tells it from one that was there before the data was lost.
-- ARGV: milliseconds until the key is forgotten (0: never); an id for a new hash; then what this node
-- has heard last: id (empty if nothing), taken, spent, extra, epoch; then `claim`, `reset` or `top_up`.
-- Of `claim` follow: epoch (empty if unknown), amount, give, want, spent; of `top_up` units.
-- Answers units granted, what is left, taken, spent, extra, epoch and id.
local keep, fresh, heard = tonumber(ARGV[1]), ARGV[2], ARGV[3]
local state = redis.call('HMGET', KEYS[1], 'taken', 'spent', 'extra', 'epoch', 'id')
local taken, spent = tonumber(state[1]) or 0, tonumber(state[2]) or 0
local extra, epoch = tonumber(state[3]) or 0, tonumber(state[4]) or 0
local id = state[5] or fresh
-- The data was lost since: the sums are at least what any node has heard.
if heard ~= '' and heard ~= id then
  local known = {tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])}
  if known[4] > epoch then
    taken, spent, extra, epoch = known[1], known[2], known[3], known[4]
  elseif known[4] == epoch then
    taken, spent, extra = math.max(taken, known[1]), math.max(spent, known[2]), math.max(extra, known[3])
  end
end
local operation, units, left = ARGV[8], 0, 0
if operation == 'reset' then
  taken, spent, extra, epoch = 0, 0, 0, epoch + 1
elseif operation == 'top_up' then
  extra = extra + tonumber(ARGV[9])
else
  local amount = tonumber(ARGV[10])
  if ARGV[9] == '' or tonumber(ARGV[9]) == epoch then
    taken = math.max(0, taken - tonumber(ARGV[11]))
    spent = math.max(0, spent + tonumber(ARGV[13]))
    units = math.max(0, math.min(tonumber(ARGV[12]), amount + extra - taken))
    taken = taken + units
  end
  left = amount + extra - taken
end
local function whole(number) return string.format('%.0f', number) end
redis.call('HSET', KEYS[1], 'taken', whole(taken), 'spent', whole(spent), 'extra', whole(extra),
  'epoch', whole(epoch), 'id', id)
if keep > 0 then redis.call('PEXPIRE', KEYS[1], keep) end
return {whole(units), whole(left), whole(taken), whole(spent), whole(extra), whole(epoch), id}
