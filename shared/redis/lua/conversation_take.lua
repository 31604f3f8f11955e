-- Takes a conversation for a request, if no other one that is open has it. Whoever closes that one gives it back thereby;
-- until it is admitted it has some seconds.
--
-- KEYS  1 the conversation's lock
-- ARGV  1 api process in hex  2 request hex  3 life of the lock in ms  4 for how many ms a request may be on its way
-- returns 1 when it was taken, else 0
local lock = KEYS[1]
local own_api, own_request, life_ms, on_way_ms = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local held = redis.call('GET', lock)
if held then
  local api, request, since = string.match(held, '^(%S+) (%S+) (%d+)$')
  local is_new = now_ms - tonumber(since) < on_way_ms
  if is_new or redis.call('HEXISTS', open_requests(api), request) == 1 then return 0 end
end
redis.call('SET', lock, own_api .. ' ' .. own_request .. ' ' .. string.format('%.0f', now_ms), 'PX', life_ms)
return 1
