-- Says that a worker takes no more now, and wakes another should it have been woken for what waits. Stands after wake.lua.
--
-- KEYS  1 queue
-- ARGV  1 worker hex
redis.call('SREM', idle_key(KEYS[1]), ARGV[1])
if redis.call('EXISTS', KEYS[1]) == 1 then wake(KEYS[1]) end
