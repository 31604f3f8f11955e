-- Removes a response that is in PostgreSQL by now, unless something better is known of it since.
--
-- KEYS  1 the response that waits  2 exists where it was deleted  3 those of its conversation that wait
-- ARGV  1 what was stored  2 request hex
-- returns 1 where it was deleted while it was stored, else 0
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
  redis.call('LREM', KEYS[3], 0, ARGV[2])
end
return redis.call('EXISTS', KEYS[2])
