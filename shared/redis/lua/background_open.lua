-- Opens a response of the background, unless its owner has too many of them, or too many bytes of their bodies. Its
-- request is admitted right after that, and then it is kept (background_keep.lua): what is not goes away by itself.
--
-- KEYS  1 the owner's open ones  2 the response  3 its events
-- ARGV  1 request hex  2 how many an owner may have  3 life in ms, until it is kept  4 bytes of its body  5 how many of
--       them an owner may have  6 its first events  7... fields and their values
-- returns 1, 0 where there are too many, or -1 where they are too large
local LARGE = 65536  -- placement.LARGE_BYTES
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local life_ms, size = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now_ms)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
if size > LARGE then
  local together = size
  for _, request in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
    together = together + tonumber(redis.call('HGET', open_response(request), 'size') or 0)
  end
  if together > tonumber(ARGV[5]) then return -1 end
end
redis.call('ZADD', KEYS[1], now_ms + life_ms, ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.max(life_ms, redis.call('PTTL', KEYS[1])))
redis.call('HSET', KEYS[2], 'size', size, unpack(ARGV, 7))
redis.call('PEXPIRE', KEYS[2], life_ms)
redis.call('XADD', KEYS[3], '*', 'd', ARGV[6], 'n', 0)
redis.call('PEXPIRE', KEYS[3], life_ms)
return 1
