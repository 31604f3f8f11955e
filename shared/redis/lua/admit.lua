-- Admits a request: checks its key, limits and budget, consumes them, records the request as open and puts its first
-- attempt into a queue. One step: a rejected request consumes nothing. Stands after wake.lua, bytes.lua and
-- place.lua.
--
-- own KEYS  1 rate of the key  2 revocation of the key  3 open requests of the api
-- own ARGV  1 rpm (0: no limit)  2 open record
-- returns {'ok', candidate from 1, requests left, us until all are back}
--         {'revoked'} | {'limited', us until one is back} | {'full'} | {'more'}: asked with more candidates
--         {'bytes'}, {'key bytes'}: too many bytes of large bodies wait in every queue, of this owner
--         {'key'}, {'all'}: what has room costs more than what is left of this budget
--         {'key held'}, {'all held'}: than what is left for now
local rate, revocation, open_requests = own_key(1), own_key(2), own_key(3)
local rpm, open_record = tonumber(own_argument(1)), own_argument(2)
if redis.call('EXISTS', revocation) == 1 then return {'revoked'} end
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
if is_too_much('k:' .. owner, most_owner_bytes) then return {'key bytes'} end
local chosen, why, rank_from_to = choose()
if chosen == 0 then return {why} end
if rpm > 0 then
  redis.call('ZADD', rate, whole(now), request)
  redis.call('PEXPIRE', rate, window / 1000)
end
redis.call('HSET', open_requests, request, open_record)
put(chosen, false, rank_from_to)
return {'ok', chosen, rpm - used - 1, window}
