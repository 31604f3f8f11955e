-- Stands after finish.lua, as a function, and conversation_lock.lua: where the closing counts, what the request came to
-- as a response waits for PostgreSQL, in the same step. A verdict gives way to what is known better, so it may be written
-- again. What was deleted meanwhile is not stored. Of a response of the background the events end here too.
--
-- Of an answer its worker knows all; whoever closes for a worker that cannot say, or does not know that there is an
-- answer, takes what that has kept so far. A verdict leaves it where it is.
--
-- ARGV  those of finish.lua, then the response (PendingResponse), '' for what was kept, the conversation that it belongs to, or '', and the last
--       event of one whose worker has not said its end: its sequence number is -1 there
-- returns what finish.lua returns
local DONE_S, EVENTS_S = 86400, 3600
local counts = finish()
if counts == 0 then return 0 end
local pending_responses = KEYS[2]
local response_request, response_closes = ARGV[1], ARGV[6]
local response, conversation, last_event = ARGV[#ARGV - 2], ARGV[#ARGV - 1], ARGV[#ARGV]
local kept = kept_response(response_request)
if response == '' then
  local head, body = unpack(redis.call('HMGET', kept, 'h', 'b'))
  if head and body then response = head .. body .. '}' end
end
if response_closes ~= 'judged' then redis.call('DEL', kept) end
if conversation ~= '' then free_conversation(conversation, response_request) end

local open, events = open_response(response_request), response_events(response_request)
local of_owner = redis.call('HGET', open, 'owner')
if of_owner then
  redis.call('ZREM', background_of(of_owner), response_request)
  local number = (redis.call('HGET', open, 'events') or 0) + (redis.call('HGET', open, 'before') or 0)
  if last_event ~= '' then
    local event = string.gsub(last_event, '"sequence_number":%-1', '"sequence_number":' .. number, 1)
    redis.call('XADD', events, '*', 'd', event, 'n', number)
  end
  redis.call('XADD', events, '*', 'e', '1')
  redis.call('EXPIRE', events, EVENTS_S)
  redis.call('DEL', open)
  redis.call('PUBLISH', news_channel(''), 'response ' .. response_request)
end

if response == '' or redis.call('EXISTS', removed_response(response_request)) == 1 then return counts end
redis.call('SET', done_response(response_request), response, 'EX', DONE_S)
redis.call('XADD', pending_responses, '*', 'p', response_request)
if conversation ~= '' then
  redis.call('LREM', done_in_conversation(conversation), 0, response_request)
  redis.call('RPUSH', done_in_conversation(conversation), response_request)
  redis.call('EXPIRE', done_in_conversation(conversation), DONE_S)
end
return counts
