-- Takes or renews the care for a backend's operations; a life of 0 gives it up.
--
-- KEYS  1 leader  2 operations of the backend
-- ARGV  1 worker hex  2 life of the care in ms
-- returns the operations; nothing when another worker sees to them
local leader_key, operations = unpack(KEYS)
local worker, life_ms = ARGV[1], ARGV[2]
local leader = redis.call('GET', leader_key)
if leader and leader ~= worker then
  return false
end
if life_ms == '0' then
  redis.call('DEL', leader_key)
  return {}
end
redis.call('SET', leader_key, worker, 'PX', life_ms)
return redis.call('HVALS', operations)
