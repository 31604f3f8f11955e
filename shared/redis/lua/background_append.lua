-- Appends events of a response of the background, and says that its worker lives. Only while it is open, and for the one
-- worker that has its present attempt: another one's are refused.
--
-- Events are numbered from 0, as their worker counts them; before them come those of the admission. What was appended before, of which the answer got lost, is not appended again; where Redis
-- has lost its last second, the number that is returned is lower than the first one that was given. The oldest go where
-- there are too many bytes of them.
--
-- KEYS  1 the response  2 its events  3 the job of the attempt  4 exists while somebody follows
-- ARGV  1 request hex  2 attempt  3 worker hex  4 number of the first event  5 how many  6 tokens in them  7 the events
--       8 most bytes that are kept  9 life of the events in ms  10 how the attempt failed, '' where it did not
--       11 who serves it and what is billed so far, '' where that is not news
-- returns how many events there are, or -1 where the attempt is superseded or its request is over
local response, events, job, followed = unpack(KEYS)
local request, attempt, worker, first, count = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local tokens, payload, most_bytes, life_ms = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local failure, served = ARGV[10], ARGV[11]
local present = tonumber(redis.call('HGET', response, 'attempt') or -1)
if present ~= attempt or redis.call('EXISTS', job) == 0 then return -1 end
local holder = redis.call('HGET', response, 'worker')
local mine = attempt .. ' ' .. worker
if holder ~= mine and holder and string.match(holder, '^%d+') == tostring(attempt) then return -1 end
local time = redis.call('TIME')
local now_ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', response, 'worker', mine, 'seen', now_ms)
if served ~= '' then redis.call('HSET', response, 'served', served) end
if failure ~= '' then redis.call('HSET', response, 'failure', failure) end
if failure ~= '' then redis.call('PUBLISH', news_channel(''), 'background ' .. request) end
local there = tonumber(redis.call('HGET', response, 'events') or 0)
if payload == '' or there ~= first then return there end
local before = tonumber(redis.call('HGET', response, 'before') or 0)
redis.call('XADD', events, '*', 'd', payload, 'n', first + before)
redis.call('HINCRBY', response, 'tokens', tokens)
there = redis.call('HINCRBY', response, 'events', count)
local bytes = redis.call('HINCRBY', response, 'bytes', #payload)
while bytes > most_bytes and redis.call('XLEN', events) > 1 do
  local oldest = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', events, oldest[1])
  bytes = redis.call('HINCRBY', response, 'bytes', -#oldest[2][2])
end
redis.call('PEXPIRE', events, life_ms)
if redis.call('EXISTS', followed) == 1 then redis.call('PUBLISH', news_channel(''), 'response ' .. request) end
return there
