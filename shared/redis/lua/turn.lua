-- Stands after finish.lua, as a function, and session_free.lua: where the closing counts, the turn of the request goes to
-- those of its session that wait for PostgreSQL, in the same step, and the session is free again.
--
-- What the request brought stands in Redis since before its admission. Of the answer its worker knows all; whoever closes
-- for a worker that cannot say takes what that has kept so far. Where nothing came of the answer there is no turn: asking
-- again is then no repetition. A verdict leaves both where they are, for what may be known better later.
--
-- ARGV  those of finish.lua, then the assistant's message, '' for what was kept, and its state:
--       'complete', 'cut', 'broken', 'cancelled'
-- returns what finish.lua returns
local TURN_KEPT_S = 86400
local counts = finish()
if counts == 0 then return 0 end
local pending_turns = KEYS[2]
local turn_request, turn_record, turn_closes, answer, state = ARGV[1], ARGV[2], ARGV[6], ARGV[#ARGV - 1], ARGV[#ARGV]
local brought, kept = turn_key(turn_request), answer_key(turn_request)
local head = redis.call('GET', brought)
if not head then return counts end
if answer == '' then answer = redis.call('GET', kept) or '' end
local session = string.sub(head, 1, 36)
if answer ~= '' then
  local turn = '{"head":' .. string.sub(head, 38) .. ',"answer":' .. answer .. ',"state":"' .. state .. '","record":' .. turn_record .. '}'
  redis.call('RPUSH', turns_key(session), turn)
  redis.call('XADD', pending_turns, '*', 's', session)
end
if turn_closes == 'judged' then
  redis.call('EXPIRE', brought, TURN_KEPT_S)
  redis.call('EXPIRE', kept, TURN_KEPT_S)
else
  redis.call('DEL', brought, kept)
end
free(session, turn_request)
return counts
