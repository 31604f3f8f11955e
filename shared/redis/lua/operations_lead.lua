-- Takes or renews the care for a backend's operations; a life of 0 gives it up.
--
-- KEYS  1 leader  2 operations of the backend
-- ARGV  1 worker hex  2 life of the care in ms
-- returns the operations; nothing when another worker sees to them
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then
  return false
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
  return {}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return redis.call('HVALS', KEYS[2])
