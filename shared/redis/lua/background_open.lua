-- Opens a response of the background, unless its owner has too many of them. Its request is admitted right after that.
--
-- KEYS  1 the owner's open ones  2 the response
-- ARGV  1 request hex  2 how many an owner may have  3 life in ms  4... fields and their values
-- returns 1, or 0 where there are too many
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local life_ms = tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], now_ms + life_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], life_ms)
redis.call('HSET', KEYS[2], unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[2], life_ms)
return 1
