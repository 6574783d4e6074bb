-- The sums of a budget in one window, which nodes share.
-- KEYS[1] is a hash: `taken`, `spent`, `extra` and `epoch` as in `Sums`; `id`, which tells it from
-- one that was there before the data was lost; and `n`, which counts calls.
-- KEYS[2] is the record of what must not be carried out twice; a claim that only reads has none.
-- That of a write exists once the write was carried out. That of the claims of a node has the
-- number of the last one, what it added to `taken` and `spent`, and the epoch.
-- ARGV: milliseconds until the hash is forgotten (0: never); an id for a new hash; then what this
-- node has heard last: id (empty if nothing), taken, spent, extra, epoch, n; milliseconds until the
-- record is forgotten; the number of the claim; then `claim`, `cancel`, `reset` or `top_up`.
-- Of `claim` and `cancel` follow: epoch (empty if unknown), amount, give, want, spent; of `top_up`
-- units.
-- `cancel` has the number of a claim that was not answered: what that took and spent is taken back
-- if it was carried out, and it has no effect any more if not, save for what it gives.
-- Answers units granted, what is left, taken, spent, extra, epoch, id and n.
local keep, fresh, heard, heard_n = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[8])
local state = redis.call('HMGET', KEYS[1], 'taken', 'spent', 'extra', 'epoch', 'id', 'n')
local taken, spent = tonumber(state[1]) or 0, tonumber(state[2]) or 0
local extra, epoch = tonumber(state[3]) or 0, tonumber(state[4]) or 0
local id, n = state[5] or fresh, tonumber(state[6]) or 0
local function whole(number) return string.format('%.0f', number) end
-- The data was lost since, or is older than what this node has heard: the sums are at least what
-- any node has heard. Older data gets a new id, by which the other nodes notice. A hash with the
-- new id was raised by an earlier request of the same call.
if heard ~= '' and state[5] ~= fresh and (heard ~= id or heard_n > n) then
  if heard == id then id = fresh end
  local known = {tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])}
  if known[4] > epoch then
    taken, spent, extra, epoch = known[1], known[2], known[3], known[4]
  elseif known[4] == epoch then
    taken, spent, extra = math.max(taken, known[1]), math.max(spent, known[2]), math.max(extra, known[3])
  end
end
local record_keep, number, operation, units, left = ARGV[9], tonumber(ARGV[10]), ARGV[11], 0, 0
if operation == 'reset' or operation == 'top_up' then
  if redis.call('SET', KEYS[2], '', 'NX', 'PX', record_keep) then
    if operation == 'reset' then
      taken, spent, extra, epoch = 0, 0, 0, epoch + 1
    else
      extra = extra + tonumber(ARGV[12])
    end
  end
else
  local amount, give = tonumber(ARGV[13]), tonumber(ARGV[14])
  local want, used = tonumber(ARGV[15]), tonumber(ARGV[16])
  local last, last_taken, last_spent, last_epoch
  if KEYS[2] then
    local record = redis.call('GET', KEYS[2]) or ''
    last, last_taken, last_spent, last_epoch = string.match(record, '^(%d+) (-?%d+) (-?%d+) (%d+)$')
  end
  last = tonumber(last) or -1
  local more_taken, more_spent, is_changed = 0, 0, false
  if not KEYS[2] or last < number then
    is_changed = true
    if ARGV[12] == '' or tonumber(ARGV[12]) == epoch then
      taken = math.max(0, taken - give)
      spent = math.max(0, spent + used)
      units = math.max(0, math.min(want, amount + extra - taken))
      taken = taken + units
      more_taken, more_spent = units - math.min(0, give), used
    end
  elseif operation == 'cancel' and last == number then
    is_changed = true
    if tonumber(last_epoch) == epoch then
      taken = math.max(0, taken - tonumber(last_taken))
      spent = math.max(0, spent - tonumber(last_spent))
    end
  end
  if KEYS[2] and is_changed then
    local record = {whole(number), whole(more_taken), whole(more_spent), whole(epoch)}
    redis.call('SET', KEYS[2], table.concat(record, ' '), 'PX', record_keep)
  end
  left = amount + extra - taken
end
n = n + 1
redis.call('HSET', KEYS[1], 'taken', whole(taken), 'spent', whole(spent), 'extra', whole(extra),
  'epoch', whole(epoch), 'id', id, 'n', whole(n))
if keep > 0 then redis.call('PEXPIRE', KEYS[1], keep) end
return {whole(units), whole(left), whole(taken), whole(spent), whole(extra), whole(epoch), id, whole(n)}
