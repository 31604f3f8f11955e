-- Gives a session back without a turn: its request was not admitted. Stands after session_free.lua.
--
-- KEYS  1 lease of the session  2 what the request brings
-- ARGV  1 session  2 request hex
redis.call('DEL', KEYS[2])
free(ARGV[1], ARGV[2])
return 1
