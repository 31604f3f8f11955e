-- Opens a response of the background, unless its owner has too many of them, or too many bytes of their bodies. Its
-- request is admitted right after that, and then it is kept (background_keep.lua): what is not goes away by itself.
--
-- KEYS  1 the owner's open ones  2 the response  3 its events
-- ARGV  1 request hex  2 how many an owner may have  3 life in ms, until it is kept  4 bytes of its body  5 how many of
--       them an owner may have  6 its first events  7... fields and their values
-- returns 1, 0 where there are too many, or -1 where they are too large
local owners_open, response, events = unpack(KEYS)
local request_opened, most_open, life_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local size, most_bytes, first_events = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local function fields() return unpack(ARGV, 7) end
local LARGE = 65536  -- placement.LARGE_BYTES
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', owners_open, '-inf', now_ms)
if redis.call('ZCARD', owners_open) >= most_open then return 0 end
if size > LARGE then
  local together = size
  for _, request in ipairs(redis.call('ZRANGE', owners_open, 0, -1)) do
    together = together + tonumber(redis.call('HGET', open_response(request), 'size') or 0)
  end
  if together > most_bytes then return -1 end
end
redis.call('ZADD', owners_open, now_ms + life_ms, request_opened)
redis.call('PEXPIRE', owners_open, math.max(life_ms, redis.call('PTTL', owners_open)))
redis.call('HSET', response, 'size', size, fields())
redis.call('PEXPIRE', response, life_ms)
redis.call('XADD', events, '*', 'd', first_events, 'n', 0)
redis.call('PEXPIRE', events, life_ms)
return 1
