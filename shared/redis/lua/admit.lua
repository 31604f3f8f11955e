-- Admits a request: checks its key, limits and budget, consumes them, records the request as open and puts its first
-- attempt into a queue. One step: a rejected request consumes nothing. Stands after place.lua.
--
-- KEYS  3 rate of the key  4 revocation of the key  5 open requests of the api
-- ARGV  10 rpm (0: no limit)  11 open record
-- returns {'ok', candidate from 1, requests left, us until all are back}
--         {'revoked'} | {'limited', us until one is back} | {'full'} | {'key'}, {'all'}: what has room costs more than what is left of this
--         budget | {'key held'}, {'all held'}: than what is left for now
if redis.call('EXISTS', KEYS[4]) == 1 then return {'revoked'} end
local now = time[1] * 1000000 + time[2]
local window = 60000000
local rpm = tonumber(ARGV[10])
local used = 0
if rpm > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', whole(now - window))
  used = redis.call('ZCARD', KEYS[3])
  if used >= rpm then
    local free = redis.call('ZRANGE', KEYS[3], used - rpm, used - rpm, 'WITHSCORES')
    return {'limited', free[2] + window - now}
  end
end
local chosen, why, rank = choose()
if chosen == 0 then return {why} end
if rpm > 0 then
  redis.call('ZADD', KEYS[3], whole(now), ARGV[5])
  redis.call('PEXPIRE', KEYS[3], window / 1000)
end
redis.call('HSET', KEYS[5], ARGV[5], ARGV[11])
put(chosen, false, rank)
return {'ok', chosen, rpm - used - 1, window}
