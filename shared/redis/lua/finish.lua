-- Ends an attempt: removes its job and, where a record is given, closes its request in the usage log and settles what
-- it had reserved of the budget. Whoever comes first closes; the others find the request no longer open.
--
-- KEYS  1 open requests of the api  2 usage stream  3 job  4 mark of the job in progress  5 running jobs of its queue
--       6 budget of the month, where the attempt was paid
-- ARGV  1 request hex  2 usage record, or '' to leave the request open  3 job id
--       4 cost in 1e-9 USD, or '?': what was reserved  5 key id  6 'new': write the record though nothing is open
-- returns 1 when the request was closed here
local there = redis.call('DEL', KEYS[3], KEYS[4])
redis.call('ZREM', KEYS[5], ARGV[3])
if ARGV[2] == '' then return 0 end
-- An attempt whose job its api has dropped is superseded: the request is another attempt's to close.
if ARGV[6] == 'held' and there == 0 then return 0 end
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 and ARGV[6] ~= 'new' then return 0 end
redis.call('XADD', KEYS[2], '*', 'r', ARGV[2])
if KEYS[6] then
  local cost, held = ARGV[4], redis.call('HGET', KEYS[6], 'r:' .. ARGV[1])
  if cost == '?' then cost = held or '0' end
  if held then
    redis.call('HDEL', KEYS[6], 'r:' .. ARGV[1])
    redis.call('HINCRBY', KEYS[6], 'held', '-' .. held)
    redis.call('HINCRBY', KEYS[6], 'held:' .. ARGV[5], '-' .. held)
  end
  if cost ~= '0' then
    redis.call('HINCRBY', KEYS[6], 'spent', cost)
    redis.call('HINCRBY', KEYS[6], 'spent:' .. ARGV[5], cost)
    -- Until seed_budget.lua has added what the usage log knows, which requests it must not add again.
    if redis.call('HEXISTS', KEYS[6], 'seeded') == 0 then redis.call('HSET', KEYS[6], 's:' .. ARGV[1], '') end
  end
end
return 1
