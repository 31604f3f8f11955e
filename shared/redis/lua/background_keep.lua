-- Keeps a response of the background whose request was admitted for as long as that may take, with its body where that
-- is large: what is refused has not brought it. One that has ended by now stays ended.
--
-- KEYS  1 the owner's open ones  2 the response  3 its events
-- ARGV  1 request hex  2 life in ms  3... fields and their values
local owners_open, response, events = unpack(KEYS)
local request, life_ms = ARGV[1], tonumber(ARGV[2])
local function fields() return unpack(ARGV, 3) end
if redis.call('EXISTS', response) == 0 then return 0 end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZADD', owners_open, now_ms + life_ms, request)
redis.call('PEXPIRE', owners_open, math.max(life_ms, redis.call('PTTL', owners_open)))
redis.call('HSET', response, fields())
redis.call('PEXPIRE', response, life_ms)
redis.call('PEXPIRE', events, math.max(life_ms, redis.call('PTTL', events)))
return 1
