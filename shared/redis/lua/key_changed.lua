-- Notes which revision a gateway key has, unless a later one is noted.
--
-- KEYS  1 revision of the key
-- ARGV  1 revision  2 life in seconds
local held = tonumber(redis.call('GET', KEYS[1]) or -1)
if held < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
return 1
