-- Notes which revision a gateway key has, unless a later one is noted that may be true.
--
-- KEYS  1 revision of the key
-- ARGV  1 revision  2 life in seconds  3 a later one that is not true (any more), where that is known
local revision_key = KEYS[1]
local revision, life_s, untrue = ARGV[1], ARGV[2], tonumber(ARGV[3])
local held = tonumber(redis.call('GET', revision_key) or -1)
if held < tonumber(revision) or held == untrue then redis.call('SET', revision_key, revision, 'EX', life_s) end
return 1
