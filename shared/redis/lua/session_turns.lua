-- Returns the turns of a session that are not in PostgreSQL yet, if they are not too many bytes.
--
-- KEYS  1 turns of the session that are not in PostgreSQL yet
-- ARGV  1 how many bytes they may have together
-- returns {turn JSON, ...}, or nil where they have more
local pending, most_bytes = KEYS[1], tonumber(ARGV[1])
local AT_ONCE = 8
local turns, size = {}, 0
for first = 0, redis.call('LLEN', pending) - 1, AT_ONCE do
  for _, turn in ipairs(redis.call('LRANGE', pending, first, first + AT_ONCE - 1)) do
    size = size + #turn
    if size > most_bytes then return nil end
    turns[#turns + 1] = turn
  end
end
return turns
