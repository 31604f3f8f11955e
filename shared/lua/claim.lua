-- Takes the next waiting jobs out of a queue, marks them as in progress, as arq does, and notes that they run.
--
-- KEYS  1 queue
-- ARGV  1 how many at most  2 worker hex  3 life of the mark in ms  4 for how many ms a running job counts as one
--         unless its worker says so again
-- returns {job id, job JSON, ...}; a job whose JSON has expired is dropped
local claimed = {}
local ids = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
if #ids == 0 then return claimed end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local running = 'claw:running:' .. KEYS[1]
redis.call('ZREMRANGEBYSCORE', running, '-inf', now_ms - ARGV[3])
for i = 1, #ids, 2 do
  local job = redis.call('GET', 'arq:job:' .. ids[i])
  if job then
    redis.call('SET', 'arq:in-progress:' .. ids[i], ARGV[2], 'PX', ARGV[3])
    redis.call('ZADD', running, now_ms + ARGV[4], ids[i])
    claimed[#claimed + 1] = ids[i]
    claimed[#claimed + 1] = job
  end
end
redis.call('PEXPIRE', running, ARGV[3])
return claimed
