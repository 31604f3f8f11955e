-- Takes the next waiting jobs out of a queue, marks them as in progress, as arq does, and notes that they run. If that
-- leaves slots free, it takes over jobs that wait in other queues and can be done here too (place.lua).
--
-- KEYS  1 queue
-- ARGV  1 how many at most  2 worker hex  3 life of the mark in ms  4 for how many ms a running job counts as one
--         unless its worker says so again  5 'help' to take jobs over
-- returns {job id, job JSON, '' or for one taken over the model here, ...}; a job whose JSON has expired is dropped
local free, shared, running = tonumber(ARGV[1]), 'claw:shared:' .. KEYS[1], 'claw:running:' .. KEYS[1]
local claimed = {}

local function take(id, model)
  local job = redis.call('GET', 'arq:job:' .. id)
  if not job then return end
  local time = redis.call('TIME')
  local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
  redis.call('SET', 'arq:in-progress:' .. id, ARGV[2], 'PX', ARGV[3])
  redis.call('ZREMRANGEBYSCORE', running, '-inf', now_ms - ARGV[3])
  redis.call('ZADD', running, now_ms + ARGV[4], id)
  redis.call('PEXPIRE', running, ARGV[3])
  for _, word in ipairs({ id, job, model }) do claimed[#claimed + 1] = word end
  free = free - 1
end

while free > 0 do
  local ids = redis.call('ZPOPMIN', KEYS[1], free)
  if #ids == 0 then break end
  for i = 1, #ids, 2 do take(ids[i], '') end
end
while free > 0 and ARGV[5] == 'help' do
  local note = redis.call('ZPOPMIN', shared)[1]
  if not note then break end
  local queue, model, id = string.match(note, '^(.-)\n(.-)\n(.*)$')
  -- It may have been claimed since, or have moved on.
  if redis.call('ZREM', queue, id) == 1 then take(id, model) end
end
return claimed
