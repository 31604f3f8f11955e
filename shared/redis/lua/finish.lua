-- Ends an attempt: removes its job and, where a record is given, closes its request in the usage log and settles what
-- it had reserved of the budget. Whoever comes first closes; the others find the request no longer open.
--
-- Called by shared/usage.py alone, which says what its arguments mean.
--
-- KEYS  1 open requests of the api  2 usage stream  3 job  4 arq's in-progress key of the job
--       5 running jobs of its queue  6 budget of the month, where something may be reserved or was paid
-- ARGV  1 request hex  2 usage record, or '' to leave the request open  3 job id
--       4 cost in 1e-9 USD, or '?': what was reserved  5 owner (key id)
--       6 closes: 'open': a request that is open; 'held': one whose job is there besides; 'new': any
-- returns 1 when the request was closed here
local open_requests, usage, job, in_progress, running, budget = unpack(KEYS)
local request, record, job_id, cost, owner, closes = unpack(ARGV)
local there = redis.call('DEL', job, in_progress)
redis.call('ZREM', running, job_id)
if record == '' then return 0 end
-- An attempt whose job its api has dropped is superseded: the request is another attempt's to close.
if closes == 'held' and there == 0 then return 0 end
if redis.call('HDEL', open_requests, request) == 0 and closes ~= 'new' then return 0 end
redis.call('XADD', usage, '*', 'r', record)
if budget then
  local held = redis.call('HGET', budget, 'r:' .. request)
  if cost == '?' then cost = held or '0' end
  if held then
    redis.call('HDEL', budget, 'r:' .. request)
    redis.call('HINCRBY', budget, 'held', '-' .. held)
    redis.call('HINCRBY', budget, 'held:' .. owner, '-' .. held)
  end
  if cost ~= '0' then
    redis.call('HINCRBY', budget, 'spent', cost)
    redis.call('HINCRBY', budget, 'spent:' .. owner, cost)
    -- Until seed_budget.lua has added what the usage log knows, which requests it must not add again.
    if redis.call('HEXISTS', budget, 'seeded') == 0 then redis.call('HSET', budget, 's:' .. request, '') end
  end
end
return 1
