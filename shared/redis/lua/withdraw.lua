-- Takes a waiting job out of its queue again. Stands after bytes.lua.
--
-- KEYS  1 queue  2 job
-- ARGV  1 job id
-- returns 1 when it was still waiting
local queue, job, job_id = KEYS[1], KEYS[2], ARGV[1]
if redis.call('ZREM', queue, job_id) == 1 then
  redis.call('DEL', job, arriving_key(job_id))
  release_bytes(job_id)
  return 1
end
return 0
