-- Admits a request: checks its key, limits and budget, consumes them, records the request as open and puts its first
-- attempt into a queue. One step: a rejected request consumes nothing. Stands after wake.lua, bytes.lua, tokens.lua and
-- place.lua.
--
-- own KEYS  1 rate of the key  2 revocation of the key  3 open requests of the api  4 revision of the key  5 api
--           processes  6 tokens of the key, where it has a limit of them
-- own ARGV  1 rpm (0: no limit)  2 open record  3 the revision of the key that is known, '': any  4 id of the api, ''
--           where it is none that can die  5 tokens a minute  6 tokens to reserve
-- returns {'ok', candidate from 1, requests left, us until all are back, tokens left, us until all are back}
--         {'revoked'} | {'changed', revision}: the key is another one than is known | {'limited', us until one is back} | {'full'} | {'more'}: asked with more candidates
--         {'tokens', us until these are there, tokens left, us until all are, requests left, us until all are}
--         {'bytes'}, {'key bytes'}: too many bytes of large bodies wait in every queue, of this owner
--         {'key'}, {'all'}: what has room costs more than what is left of this budget
--         {'key held'}, {'all held'}: than what is left for now
local rate, revocation, open_requests, bucket = own_key(1), own_key(2), own_key(3), own_key(6)
local rpm, open_record = tonumber(own_argument(1)), own_argument(2)
if redis.call('EXISTS', revocation) == 1 then return {'revoked'} end
local known = tonumber(own_argument(3))
local revision = known and tonumber(redis.call('GET', own_key(4)) or known)
if known and revision > known then return {'changed', revision} end
local now = time[1] * 1000000 + time[2]
local window = 60000000
local used = 0
if rpm > 0 then
  redis.call('ZREMRANGEBYSCORE', rate, '-inf', whole(now - window))
  used = redis.call('ZCARD', rate)
  if used >= rpm then
    local free = redis.call('ZRANGE', rate, used - rpm, used - rpm, 'WITHSCORES')
    return {'limited', free[2] + window - now}
  end
end
local token_limit, token_us = nil, 0
if bucket then
  token_limit = tonumber(own_argument(5))
  token_us = weight_us(tonumber(own_argument(6)), token_limit)
  local owed_us = debt_us(bucket, now)
  if owed_us + token_us > MINUTE_US then
    return {'tokens', owed_us + token_us - MINUTE_US, tokens_left(owed_us, token_limit), owed_us, rpm - used, window}
  end
end
if is_too_much('k:' .. owner, most_owner_bytes) then return {'key bytes'} end
local chosen, why, rank_from_to = choose()
if chosen == 0 then return {why} end
if rpm > 0 then
  redis.call('ZADD', rate, whole(now), request)
  redis.call('PEXPIRE', rate, window / 1000)
end
open(open_requests, open_record, own_key(5), own_argument(4))
put(chosen, false, rank_from_to)
if not bucket then return {'ok', chosen, rpm - used - 1, window} end
local until_full_us = take_us(bucket, token_us, now)
return {'ok', chosen, rpm - used - 1, window, tokens_left(until_full_us, token_limit), until_full_us}
