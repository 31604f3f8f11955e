-- Ends an attempt that blames no account: corrects what was taken of the quotas, and ends a probe.
--
-- KEYS  1 closed models of the backend  2 account  3 breaker  4 quota  5 minute  6 tokens  7 day  8 window
-- ARGV  1 'good': the account answered  'unused': nothing was used  'used': it is not known what was
--       2 '' | 'probe' | 'forced'  3 model  4 account  5 reservation, '' where none was made
--       6 prompt tokens, '' where not known  7 all tokens
local outcome, role, model = ARGV[1], ARGV[2], ARGV[3]
if role ~= '' then
  if outcome == 'good' then
    redis.call('DEL', KEYS[3], KEYS[8])
    redis.call('HDEL', KEYS[2], 'rejected', 'until', 'probe', 'error', 'since')
    redis.call('HDEL', KEYS[4], 'cool', 'period', 'error')
    redis.call('ZREM', KEYS[1], model, '')
  else
    redis.call('HDEL', KEYS[2], 'probe')
    redis.call('HDEL', KEYS[3], 'probe')
  end
end
if ARGV[5] == '' then return 0 end
local use = ARGV[4] .. ' ' .. ARGV[5]
if outcome == 'good' then redis.call('HDEL', KEYS[4], 'step') end
local taken = redis.call('HGET', KEYS[6], use)
if outcome == 'unused' then
  if taken then
    redis.call('HINCRBY', KEYS[6], 'total', 0 - taken)
    redis.call('HDEL', KEYS[6], use)
    redis.call('ZREM', KEYS[5], use)
  end
  for _, name in ipairs({'model:' .. model, 'requests:' .. ARGV[4]}) do
    if redis.call('HINCRBY', KEYS[7], name, -1) <= 0 then redis.call('HDEL', KEYS[7], name) end
  end
  return 1
end
if taken and ARGV[6] ~= '' then
  redis.call('HINCRBY', KEYS[6], 'total', ARGV[6] - taken)
  redis.call('HSET', KEYS[6], use, ARGV[6])
end
if ARGV[7] ~= '0' then redis.call('HINCRBY', KEYS[7], 'tokens:' .. ARGV[4], ARGV[7]) end
return 1
