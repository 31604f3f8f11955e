-- Gives a conversation back that this request has.
local function free_conversation(conversation, request)
  local held = redis.call('GET', conversation_lock(conversation))
  if held and string.match(held, ' (%S+) ') == request then redis.call('DEL', conversation_lock(conversation)) end
end
