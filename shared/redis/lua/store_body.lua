-- The second step of a large job: stores its body where its place in a queue was reserved (place.lua). Stands after
-- wake.lua.
--
-- KEYS  1 queue  2 job
-- ARGV  1 job id  2 job JSON after its head  3 job's life in ms
-- returns 1 when it was stored; 0 when the place is gone: it was given back, or the body came too late
local queue, job = KEYS[1], KEYS[2]
local job_id, job_tail, life_ms = unpack(ARGV)
local head = redis.call('GET', arriving_key(job_id))
redis.call('DEL', arriving_key(job_id))
if not head or not redis.call('ZSCORE', queue, job_id) then return 0 end
redis.call('SET', job, head .. job_tail, 'PX', life_ms)
wake(queue)
return 1
