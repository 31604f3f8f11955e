-- Gives a session back without a turn: its request was not admitted. Stands after session_free.lua.
--
-- KEYS  1 lease of the session  2 what the request brings
-- ARGV  1 session  2 request hex
local brought, session, request = KEYS[2], ARGV[1], ARGV[2]
redis.call('DEL', brought)
free(session, request)
return 1
