-- Adds to a month's budget what the usage log knows to be spent, once: for a Redis that is new or lost its data.
-- What finish.lua settled before this is in the sums of Redis already. Its requests are the fields `s:<request hex>`,
-- which finish.lua writes while `seeded` is not there; the caller leaves them out of the usage log's sums.
--
-- Whoever closed a request of late may not have heard that Redis took it, and says it once more; Redis may have lost it
-- meanwhile, but the log has it. So each such request gets its verdict: then what is said again is the same, or is
-- charged the difference, as finish.lua does.
--
-- KEYS  1 budget of the month  2... verdict of each request that was recorded of late
-- ARGV  1 life of the budget in s
--       for each of those requests: request hex, number of the attempt (0: a verdict), cost in 1e-9 USD, owner (key id)
--       then pairs: name of a field, what to add to it in 1e-9 USD
-- returns 1 when it was done here, 0 when it was done before
local budget, life_s = KEYS[1], ARGV[1]
local VERDICT_S = 86400
local FACTS = 4
if redis.call('HEXISTS', budget, 'seeded') == 1 then return 0 end

for i = 2, #KEYS do
  local verdict, first = KEYS[i], 2 + FACTS * (i - 2)
  local request, attempt, cost, owner = unpack(ARGV, first, first + FACTS - 1)
  local is_charged = redis.call('HEXISTS', budget, 's:' .. request) == 1
  local said_attempt, said_cost = string.match(redis.call('GET', verdict) or '', '^(%d+) (%d+)')
  -- Of two words about one attempt the log keeps its first, which this Redis does not know.
  local is_logs = said_attempt and tonumber(attempt) >= tonumber(said_attempt)
  if is_logs or not is_charged then
    local charge = string.format('%.0f', tonumber(cost) - (is_charged and tonumber(said_cost) or 0))
    redis.call('HINCRBY', budget, 'spent', charge)
    redis.call('HINCRBY', budget, 'spent:' .. owner, charge)
    redis.call('SET', verdict, attempt .. ' ' .. cost, 'EX', VERDICT_S)
  end
end
for _, field in ipairs(redis.call('HKEYS', budget)) do
  if string.sub(field, 1, 2) == 's:' then redis.call('HDEL', budget, field) end
end
for i = 2 + FACTS * (#KEYS - 1), #ARGV, 2 do redis.call('HINCRBY', budget, ARGV[i], ARGV[i + 1]) end
redis.call('HSET', budget, 'seeded', 1)
redis.call('EXPIRE', budget, life_s)
return 1
