-- Says that a worker takes no more now, and wakes another should it have been woken for what waits. Stands after wake.lua.
--
-- KEYS  1 queue
-- ARGV  1 worker hex
local queue, worker = KEYS[1], ARGV[1]
redis.call('SREM', idle_key(queue), worker)
if redis.call('EXISTS', queue) == 1 then wake(queue) end
