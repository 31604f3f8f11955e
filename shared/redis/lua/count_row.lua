-- Writes the row of a request that was never open, or counts it in a row that stands for many: of each owner only so
-- many a minute have a row of their own.
--
-- KEYS  1 rows of the owner and minute  2 usage stream
-- ARGV  1 kind: 'refused', 'own', 'other'  2 how many rows of a kind are written, 0: any  3 how many requests these are
--       4 status and code  5 record of the one request, '' where there are several
--       6 record that stands for all of this status and code, without its closing brace
-- returns how many there were of this kind
local rows, usage = KEYS[1], KEYS[2]
local kind, most, requests, code, record, counting = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local total = redis.call('HINCRBY', rows, kind, requests)
redis.call('EXPIRE', rows, 120)
if record ~= '' and (most == 0 or total <= most) then
  redis.call('XADD', usage, '*', 'r', record)
else
  local count = redis.call('HINCRBY', rows, kind .. ' ' .. code, requests)
  redis.call('XADD', usage, '*', 'r', counting .. ',"count":' .. count .. '}')
end
return total
