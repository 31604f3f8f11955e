-- The second step of a large job: stores its body where its place in a queue was reserved (place.lua). Stands after
-- wake.lua.
--
-- KEYS  1 queue  2 job
-- ARGV  1 job id  2 job JSON after its head  3 job's life in ms
-- returns 1 when it was stored; 0 when the place is gone: it was given back, or the body came too late
local head = redis.call('GET', arriving_key(ARGV[1]))
redis.call('DEL', arriving_key(ARGV[1]))
if not head or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return 0 end
redis.call('SET', KEYS[2], head .. ARGV[2], 'PX', ARGV[3])
wake(KEYS[1])
return 1
