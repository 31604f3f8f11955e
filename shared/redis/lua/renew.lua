-- Says that running jobs still run; those that ended meanwhile stay away.
--
-- KEYS  1 running jobs of a queue
-- ARGV  1 for how many ms they count  2... job ids
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', until_ms, ARGV[i]) end
