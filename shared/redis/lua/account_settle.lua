-- Ends an attempt that blames no account: corrects what was taken of the quotas, and ends a probe.
--
-- KEYS  1 closed models of the backend  2 account  3 breaker  4 quota  5 minute  6 tokens  7 day  8 window
-- ARGV  1 'good': the account answered  'unused': nothing was used  'used': it is not known what was
--       2 '' | 'probe' | 'forced'  3 model  4 account  5 reservation, '' where none was made
--       6 how many requests that is for  7 prompt tokens, '' where not known  8 all tokens
-- returns 0 where nothing was reserved, else 1
local closed_models, account, breaker, quota, minute, tokens, day, window = unpack(KEYS)
local outcome, role, model, account_id, reservation, requests, prompt_tokens, all_tokens = unpack(ARGV)
if role ~= '' then
  if outcome == 'good' then
    redis.call('DEL', breaker, window)
    redis.call('HDEL', account, 'rejected', 'until', 'probe', 'error', 'since')
    redis.call('HDEL', quota, 'cool', 'period', 'error')
    redis.call('ZREM', closed_models, model, '')
  else
    redis.call('HDEL', account, 'probe')
    redis.call('HDEL', breaker, 'probe')
  end
end
if reservation == '' then return 0 end
local use = account_id .. ' ' .. reservation
if outcome == 'good' then redis.call('HDEL', quota, 'step') end
local taken = redis.call('HGET', tokens, use)
if outcome == 'unused' then
  if taken then
    redis.call('HINCRBY', tokens, 'total', 0 - taken)
    redis.call('HDEL', tokens, use)
    redis.call('ZREM', minute, use)
    for n = 2, tonumber(requests) do redis.call('ZREM', minute, use .. ' ' .. n) end
  end
  for _, name in ipairs({'model:' .. model, 'requests:' .. account_id}) do
    if redis.call('HINCRBY', day, name, '-' .. requests) <= 0 then redis.call('HDEL', day, name) end
  end
  return 1
end
if taken and prompt_tokens ~= '' then
  redis.call('HINCRBY', tokens, 'total', prompt_tokens - taken)
  redis.call('HSET', tokens, use, prompt_tokens)
end
if all_tokens ~= '0' then redis.call('HINCRBY', day, 'tokens:' .. account_id, all_tokens) end
return 1
