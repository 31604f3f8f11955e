-- Removes a response that is in PostgreSQL by now, unless something better is known of it since.
--
-- KEYS  1 the response that waits  2 exists where it was deleted  3 those of its conversation that wait
-- ARGV  1 what was stored  2 request hex
-- returns 1 where it was deleted while it was stored, else 0
local pending, deleted, of_conversation = unpack(KEYS)
local stored, request = ARGV[1], ARGV[2]
if redis.call('GET', pending) == stored then
  redis.call('DEL', pending)
  redis.call('LREM', of_conversation, 0, request)
end
return redis.call('EXISTS', deleted)
