-- Takes a session for a request, if no other one has it. What is not in PostgreSQL yet comes along: later, and it might
-- have got there meanwhile.
--
-- KEYS  1 lease  2 turns of the session that are not in PostgreSQL yet  3 exists while somebody waits
-- ARGV  1 owner  2 request hex  3 life of the lease in ms  4 for how many ms the request waits
-- returns {'taken', turn JSON, ...}, {'busy', ms until the lease ends} or {'other'}: another key has it
local held = redis.call('GET', KEYS[1])
if held then
  if string.match(held, '^(%S+) ') ~= ARGV[1] then return { 'other' } end
  redis.call('SET', KEYS[3], '1', 'PX', ARGV[4])
  return { 'busy', redis.call('PTTL', KEYS[1]) }
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2], 'PX', ARGV[3])
local taken = redis.call('LRANGE', KEYS[2], 0, -1)
table.insert(taken, 1, 'taken')
return taken
