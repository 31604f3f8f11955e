-- Does once what our scripts do with keys and channels of each kind, and leaves nothing behind. An ACL that lacks
-- something, a full or read-only server and a cluster fail here as they would fail a request.
--
-- KEYS  1 sorted set  2 string  3 hash  4 set  5 list  6 usage stream  7 string of arq's
-- ARGV  1... channels
local sorted_set, text, hash, set, list, usage, job = unpack(KEYS)
redis.call('TIME')
redis.call('ZADD', sorted_set, 1, 'probe')
redis.call('ZPOPMIN', sorted_set)
redis.call('SET', text, '1', 'PX', 1000)
redis.call('HINCRBY', hash, 'probe', 1)
redis.call('SADD', set, 'probe')
redis.call('SET', job, '1', 'PX', 1000)
redis.call('XDEL', usage, redis.call('XADD', usage, '*', 'r', ''))
redis.call('RPUSH', list, 'probe')
redis.call('LRANGE', list, 0, -1)
redis.call('LREM', list, 1, 'probe')
redis.call('DEL', sorted_set, text, hash, set, list, job)
for _, channel in ipairs(ARGV) do redis.call('PUBLISH', channel, '') end
return 1
