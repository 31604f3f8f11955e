-- Takes a waiting job out of its queue again. Stands after bytes.lua.
--
-- KEYS  1 queue  2 job
-- ARGV  1 job id
-- returns 1 when it was still waiting
if redis.call('ZREM', KEYS[1], ARGV[1]) == 1 then
  redis.call('DEL', KEYS[2], arriving_key(ARGV[1]))
  release_bytes(ARGV[1])
  return 1
end
return 0
