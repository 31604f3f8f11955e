-- Keeps a response of the background whose request was admitted for as long as that may take, with its body where that
-- is large: what is refused has not brought it. One that has ended by now stays ended.
--
-- KEYS  1 the owner's open ones  2 the response  3 its events
-- ARGV  1 request hex  2 life in ms  3... fields and their values
if redis.call('EXISTS', KEYS[2]) == 0 then return 0 end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local life_ms = tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now_ms + life_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.max(life_ms, redis.call('PTTL', KEYS[1])))
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[2], life_ms)
redis.call('PEXPIRE', KEYS[3], math.max(life_ms, redis.call('PTTL', KEYS[3])))
return 1
