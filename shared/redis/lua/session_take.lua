-- Takes a session for a request, if no other one has it. What is not in PostgreSQL yet comes along, where it is not much:
-- it must be read before what is in PostgreSQL, since it may have got there meanwhile.
--
-- KEYS  1 lease  2 turns of the session that are not in PostgreSQL yet  3 exists while somebody waits
-- ARGV  1 owner  2 request hex  3 life of the lease in ms  4 for how many ms the request waits
--       5 how many bytes of turns come along
-- returns {'taken', turn JSON, ...}, {'large'}: taken, and session_turns.lua has its turns,
--         {'busy', ms until the lease ends} or {'other'}: another key has it
local held = redis.call('GET', KEYS[1])
if held then
  if string.match(held, '^(%S+) ') ~= ARGV[1] then return { 'other' } end
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
  return { 'busy', redis.call('PTTL', KEYS[1]) }
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
local taken, size = { 'taken' }, 0
for at = 0, redis.call('LLEN', KEYS[2]) - 1 do
  local turn = redis.call('LINDEX', KEYS[2], at)
  size = size + #turn
  if size > tonumber(ARGV[5]) then return { 'large' } end
  taken[#taken + 1] = turn
end
return taken
