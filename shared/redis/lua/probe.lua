-- Does once what our scripts do with keys and channels of each kind, and leaves nothing behind. An ACL that lacks
-- something, a full or read-only server and a cluster fail here as they would fail a request.
--
-- KEYS  1 sorted set  2 string  3 hash  4 set  5 usage stream  6 string of arq's
-- ARGV  1... channels
redis.call('TIME')
redis.call('ZADD', KEYS[1], 1, 'probe')
redis.call('ZPOPMIN', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', 1000)
redis.call('HINCRBY', KEYS[3], 'probe', 1)
redis.call('SADD', KEYS[4], 'probe')
redis.call('SET', KEYS[6], '1', 'PX', 1000)
redis.call('XDEL', KEYS[5], redis.call('XADD', KEYS[5], '*', 'r', ''))
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6])
for _, channel in ipairs(ARGV) do redis.call('PUBLISH', channel, '') end
return 1
