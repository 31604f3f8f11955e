-- Notes which revision a gateway key has, unless a later one is noted that may be true.
--
-- KEYS  1 revision of the key
-- ARGV  1 revision  2 life in seconds  3 a later one that is not true (any more), where that is known
local held = tonumber(redis.call('GET', KEYS[1]) or -1)
if held < tonumber(ARGV[1]) or held == tonumber(ARGV[3]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return 1
