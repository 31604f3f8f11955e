-- Gives a conversation back: its request was not admitted. Stands after conversation_lock.lua.
--
-- KEYS  1 the conversation's lock
-- ARGV  1 conversation in hex  2 request hex
local conversation, request = ARGV[1], ARGV[2]
free_conversation(conversation, request)
return 1
