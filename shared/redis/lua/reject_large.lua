-- Takes entries that are too large out of what a recorder was given but could not read: they go to the rejected ones
-- with their beginning alone. Nothing of them is sent to the recorder.
--
-- KEYS  1 usage stream  2 rejected entries
-- ARGV  1 group  2 consumer  3 most bytes of an entry  4 how many bytes are kept  5 how many rejected entries are kept
-- returns how many were taken out
local usage, rejected = KEYS[1], KEYS[2]
local group, consumer, most, kept, most_kept = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local taken = 0
for _, pending in ipairs(redis.call('XPENDING', usage, group, '-', '+', 1000, consumer)) do
  local entry = redis.call('XRANGE', usage, pending[1], pending[1])[1]
  local record = entry and entry[2][2] or ''
  if #record > most then
    local error = 'the record has ' .. #record .. ' bytes'
    redis.call('XADD', rejected, 'MAXLEN', '~', most_kept, '*', 'r', string.sub(record, 1, kept), 'error', error)
    redis.call('XACK', usage, group, pending[1])
    redis.call('XDEL', usage, pending[1])
    taken = taken + 1
  end
end
return taken
