-- Takes the next waiting jobs out of a queue, marks them as in progress, as arq does, and notes that they run. If that
-- leaves slots free, it takes over jobs that wait in other queues and can be done here too (place.lua), and says that a
-- slot is free here still, for wake.lua. A job whose body is still on the way stays. Stands after bytes.lua.
--
-- KEYS  1 queue
-- ARGV  1 how many at most  2 worker hex  3 life of the mark in ms  4 for how many ms a running job counts as one
--         unless its worker says so again  5 'help' to take jobs over
--         6 after how many bytes of jobs it is enough, if any
-- returns {job id, job JSON, '' or for one taken over the model here, ...}; a job whose JSON has expired is dropped.
-- Of a large job only the key is left in Redis, which says that it was not given up: its worker has the body.
local queue, free, worker, mark_ms, lease_ms = KEYS[1], tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4]
local helps, enough = ARGV[5] == 'help', tonumber(ARGV[6]) or math.huge
local shared, running, idle = shared_key(queue), running_key(queue), idle_key(queue)
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed, left, bytes = {}, {}, 0

-- A backend that the operator paused takes nothing and is woken for nothing; what waits for it others may take over.
local are_paused = redis.call('HLEN', paused_queues('')) > 0
local function is_paused(name) return redis.call('HEXISTS', paused_queues(''), name) == 1 end
if are_paused and is_paused(queue) then
  redis.call('SREM', idle, worker)
  return claimed
end

local function take(id, model)
  local job = redis.call('GET', job_key(id))
  if not job or #job > LARGE then release_bytes(id) end
  if not job then return end
  if #job > LARGE then redis.call('SET', job_key(id), '', 'KEEPTTL') end
  redis.call('SET', in_progress_key(id), worker, 'PX', mark_ms)
  redis.call('ZADD', running, now_ms + lease_ms, id)
  for _, part in ipairs({ id, job, model }) do claimed[#claimed + 1] = part end
  free, bytes = free - 1, bytes + #job
end

-- What waits for a paused backend has its turn here among what waits here: there nobody does it, and here something may
-- always wait. Of the notes so many are looked at.
local LOOKED_AT = 64
local function take_from_paused()
  local notes = redis.call('ZRANGE', shared, 0, LOOKED_AT - 1, 'WITHSCORES')
  local own = redis.call('ZRANGE', queue, 0, free - 1, 'WITHSCORES')
  local at = 1
  for i = 1, #notes, 2 do
    local waits_at, model, id = string.match(notes[i], '^(.-)\n(.-)\n(.*)$')
    while own[2 * at] and tonumber(own[2 * at]) <= tonumber(notes[i + 1]) do at = at + 1 end
    if at > free or bytes >= enough then return end  -- as many of its own are before it, or it is enough
    if not redis.call('ZSCORE', waits_at, id) then
      redis.call('ZREM', shared, notes[i])
    elseif is_paused(waits_at) and redis.call('EXISTS', arriving_key(id)) == 0 then
      redis.call('ZREM', waits_at, id)
      redis.call('ZREM', shared, notes[i])
      take(id, model)
    end
  end
end
if are_paused and helps and free > 0 then take_from_paused() end

while free > 0 and bytes < enough do
  local asked = free
  local ids = redis.call('ZPOPMIN', queue, asked)
  for i = 1, #ids, 2 do
    if bytes >= enough or redis.call('EXISTS', arriving_key(ids[i])) == 1 then
      for _, part in ipairs({ queue, ids[i + 1], ids[i] }) do left[#left + 1] = part end
    else
      take(ids[i], '')
    end
  end
  if #ids < 2 * asked then break end
end
while free > 0 and bytes < enough and helps do
  local note, score = unpack(redis.call('ZPOPMIN', shared))
  if not note then break end
  local waits_at, model, id = string.match(note, '^(.-)\n(.-)\n(.*)$')
  -- It may have been claimed since, or have moved on.
  if redis.call('EXISTS', arriving_key(id)) == 1 then
    for _, part in ipairs({ shared, score, note }) do left[#left + 1] = part end
  elseif redis.call('ZREM', waits_at, id) == 1 then
    take(id, model)
  end
end
for i = 1, #left, 3 do redis.call('ZADD', left[i], left[i + 1], left[i + 2]) end
if #claimed > 0 then
  redis.call('ZREMRANGEBYSCORE', running, '-inf', now_ms - mark_ms)
  redis.call('PEXPIRE', running, mark_ms)
end
-- Whom enough was for asks again by itself.
if free > 0 and bytes < enough then
  redis.call('SADD', idle, worker)
  redis.call('PEXPIRE', idle, mark_ms)
else
  redis.call('SREM', idle, worker)
end
return claimed
