-- Frees a session that this request has, and says so where somebody waits for it.
local function free(session, request)
  local held = redis.call('GET', lease_key(session))
  if not held or string.match(held, ' (%S+)$') ~= request then return end
  redis.call('DEL', lease_key(session))
  if redis.call('DEL', awaited_key(session)) == 1 then redis.call('PUBLISH', news_channel(''), 'session ' .. session) end
end
