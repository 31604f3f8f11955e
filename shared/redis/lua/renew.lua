-- Says that running jobs still run; those that ended meanwhile stay away.
--
-- KEYS  1 running jobs of a queue
-- ARGV  1 for how many ms they count  2... job ids
local running, life_ms, jobs = KEYS[1], ARGV[1], #ARGV - 1
local function job_id(i) return ARGV[1 + i] end
local time = redis.call('TIME')
local until_ms = time[1] * 1000 + math.floor(time[2] / 1000) + life_ms
for i = 1, jobs do redis.call('ZADD', running, 'XX', until_ms, job_id(i)) end
