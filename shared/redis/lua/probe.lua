-- Does once what our scripts do with keys and channels of each kind, and leaves nothing behind. An ACL that lacks
-- something, a full or read-only server and a cluster fail here as they would fail a request.
--
-- KEYS  1 sorted set  2 string  3 hash  4 set  5 list  6 usage stream  7 string of arq's
-- ARGV  1... channels
redis.call('TIME')
redis.call('ZADD', KEYS[1], 1, 'probe')
redis.call('ZPOPMIN', KEYS[1])
redis.call('SET', KEYS[2], '1', 'PX', 1000)
redis.call('HINCRBY', KEYS[3], 'probe', 1)
redis.call('SADD', KEYS[4], 'probe')
redis.call('SET', KEYS[7], '1', 'PX', 1000)
redis.call('XDEL', KEYS[6], redis.call('XADD', KEYS[6], '*', 'r', ''))
redis.call('RPUSH', KEYS[5], 'probe')
redis.call('LRANGE', KEYS[5], 0, -1)
redis.call('LREM', KEYS[5], 1, 'probe')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7])
for _, channel in ipairs(ARGV) do redis.call('PUBLISH', channel, '') end
return 1
