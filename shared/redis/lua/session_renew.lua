-- Renews the sessions that requests of an api process have.
--
-- KEYS  1... leases
-- ARGV  1 life in ms  2... owner, a space and request hex of each
-- returns for each 1, or 0 where it is another's or nobody's by now
local life_ms = ARGV[1]
local function owner_of(i) return ARGV[i + 1] end
local renewed = {}
for i, lease in ipairs(KEYS) do
  local is_held = redis.call('GET', lease) == owner_of(i)
  if is_held then redis.call('PEXPIRE', lease, life_ms) end
  renewed[i] = is_held and 1 or 0
end
return renewed
