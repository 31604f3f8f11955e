-- Renews the sessions that requests of an api process have.
--
-- KEYS  1... leases
-- ARGV  1 life in ms  2... owner, a space and request hex of each
-- returns for each 1, or 0 where it is another's or nobody's by now
local renewed = {}
for i, lease in ipairs(KEYS) do
  local is_held = redis.call('GET', lease) == ARGV[i + 1]
  if is_held then redis.call('PEXPIRE', lease, ARGV[1]) end
  renewed[i] = is_held and 1 or 0
end
return renewed
