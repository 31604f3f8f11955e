-- Adds to a month's budget what the usage log knows to be spent, once: for a Redis that is new or lost its data.
-- What finish.lua settled before this is in the sums of Redis already. Its requests are the fields `s:<request hex>`,
-- which finish.lua writes while `seeded` is not there; the caller leaves them out of the usage log's sums.
--
-- KEYS  1 budget of the month
-- ARGV  1 life of the budget in s  2... name of a field, what to add to it in 1e-9 USD
-- returns 1 when it was done here, 0 when it was done before
if redis.call('HEXISTS', KEYS[1], 'seeded') == 1 then return 0 end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 2) == 's:' then redis.call('HDEL', KEYS[1], field) end
end
for i = 2, #ARGV, 2 do redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1]) end
redis.call('HSET', KEYS[1], 'seeded', 1)
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
