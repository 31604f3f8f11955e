-- Ends an attempt: removes its job and, where a record is given, closes its request in the usage log and settles what
-- it had reserved of the budget and of its key's tokens. Stands after tokens.lua.
--
-- Who may close what, and whose word counts (docs/decisions/0009-usage.md):
-- 1. An open request is closed by whoever comes first: its api process, or the worker of its present attempt. An
--    attempt is superseded when its job is gone though its request is open: its api dropped it.
-- 2. A recorder judges an api process dead that was not heard of, by the clock of Redis, for longer than an api may be
--    away from Redis, and closes what it has open. That is a verdict and no knowledge, and is kept as one.
-- 3. A verdict gives way to what the api or a worker knows, whenever that comes. So does an earlier attempt to a later
--    one. The log's row is replaced, and the budget is charged the difference.
-- 4. The same where Redis has lost its data and cannot know whether a request is open: it was admitted before `since`,
--    which its api writes anew when it is gone. The first record counts, as a verdict that knows its attempt.
-- 5. All else is said twice, and changes nothing, but that nothing stays reserved: an api that has not heard how its
--    request ended tries it again, and reserves for that.
--
-- Called by shared/usage.py alone, which says what its arguments mean.
--
-- KEYS  1 open requests of the api  2 usage stream  3 job  4 arq's in-progress key of the job
--       5 running jobs of its queue  6 since when Redis knows the api's requests  7 verdict of the request
--       8 budget of the month, where something may be reserved or was paid, else ''
--       9 tokens of the key, where it reserved some
-- ARGV  1 request hex  2 usage record, or '' to leave the request open  3 job id  4 cost in 1e-9 USD
--       5 owner (key id)  6 closes: 'open', 'held', 'new', 'judged'  7 number of the attempt, 0: a verdict
--       8 when the request was admitted, in ms by its api's clock, as is `since`
--       9 tokens a minute  10 tokens reserved  11 tokens used
-- returns 1 when the record counts and closes the request, 2 when it replaces what stood in its place, 0 when neither
local open_requests, usage, job, in_progress, running, since_key, verdict, budget, bucket = unpack(KEYS)
local request, record, job_id, cost, owner, closes = unpack(ARGV)
local attempt, admitted_ms = tonumber(ARGV[7]), tonumber(ARGV[8])
local VERDICT_S = 86400
local there = redis.call('DEL', job, in_progress)
redis.call('ZREM', running, job_id)
if record == '' then return 0 end
if closes == 'held' and there == 0 and redis.call('HEXISTS', open_requests, request) == 1 then return 0 end
local was_open = redis.call('HDEL', open_requests, request) == 1
local since = redis.call('GET', since_key)
local is_known = since and admitted_ms >= tonumber(since)

local function release_held()
  local held = budget and budget ~= '' and redis.call('HGET', budget, 'r:' .. request)
  if held then
    redis.call('HDEL', budget, 'r:' .. request)
    redis.call('HINCRBY', budget, 'held', '-' .. held)
    redis.call('HINCRBY', budget, 'held:' .. owner, '-' .. held)
  end
end

local function said_before()
  release_held()
  return 0
end

local charged, judged = 0, nil
local token_limit, token_charge, tokens_used = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
if closes ~= 'new' and not (was_open and is_known) then
  if closes == 'judged' and not was_open then return 0 end
  judged = redis.call('GET', verdict)
  if judged then
    local judged_attempt, judged_cost, judged_tokens = string.match(judged, '^(%d+) (%d+) ?(%d*)$')
    if attempt <= tonumber(judged_attempt) then return said_before() end
    charged, token_charge = tonumber(judged_cost), tonumber(judged_tokens) or token_charge
  elseif not was_open and is_known then
    return said_before()
  end
end
if closes ~= 'new' and (closes == 'judged' or not was_open or not is_known) then
  -- A verdict does not know what was used: what was reserved stays taken.
  local tokens = bucket and ' ' .. (closes == 'judged' and token_charge or tokens_used) or ''
  redis.call('SET', verdict, attempt .. ' ' .. cost .. tokens, 'EX', VERDICT_S)
end
redis.call('XADD', usage, '*', 'r', record)
if budget and budget ~= '' then
  release_held()
  local difference = string.format('%.0f', tonumber(cost) - charged)
  if difference ~= '0' then
    redis.call('HINCRBY', budget, 'spent', difference)
    redis.call('HINCRBY', budget, 'spent:' .. owner, difference)
    -- Until seed_budget.lua has added what the usage log knows, which requests it must not add again.
    if redis.call('HEXISTS', budget, 'seeded') == 0 then redis.call('HSET', budget, 's:' .. request, '') end
  end
end
-- Of a request that nobody opened nothing was reserved.
if bucket and closes ~= 'judged' and (was_open or judged) and tokens_used ~= token_charge then
  local now = redis.call('TIME')
  local difference_us = weight_us(tokens_used, token_limit) - weight_us(token_charge, token_limit)
  take_us(bucket, difference_us, now[1] * 1000000 + now[2])
end
return judged and 2 or 1
