-- Takes a session for a request, if no other one has it. What is not in PostgreSQL yet comes along, where it is not much:
-- it must be read before what is in PostgreSQL, since it may have got there meanwhile.
--
-- KEYS  1 lease  2 turns of the session that are not in PostgreSQL yet  3 exists while somebody waits
-- ARGV  1 owner  2 request hex  3 life of the lease in ms  4 for how many ms the request waits
--       5 how many bytes of turns come along
-- returns {'taken', turn JSON, ...}, {'large'}: taken, and session_turns.lua has its turns,
--         {'busy', ms until the lease ends} or {'other'}: another key has it
local lease, pending, waiting = unpack(KEYS)
local owner, request, life_ms, wait_ms, most_bytes = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local held = redis.call('GET', lease)
if held then
  if string.match(held, '^(%S+) ') ~= owner then return { 'other' } end
  redis.call('SET', waiting, '1', 'PX', wait_ms)
  return { 'busy', redis.call('PTTL', lease) }
end
redis.call('SET', lease, owner .. ' ' .. request, 'PX', life_ms)
local taken, size = { 'taken' }, 0
for at = 0, redis.call('LLEN', pending) - 1 do
  local turn = redis.call('LINDEX', pending, at)
  size = size + #turn
  if size > most_bytes then return { 'large' } end
  taken[#taken + 1] = turn
end
return taken
