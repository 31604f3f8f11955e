-- Writes an operation for a model, unless one of its kind is still to be done: then that one stands.
--
-- KEYS  1 operations of a backend
-- ARGV  1 model  2 the operation  3 its kind  4 life of the hash in ms  5 how many operations there may be
-- returns the operation that stands; nothing when there are too many
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local readable, operation = pcall(cjson.decode, held)
  if readable and type(operation) == 'table' and operation.kind == ARGV[3] and (operation.state == 'waiting' or operation.state == 'running') then
    return held
  end
elseif redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[5]) then
  return false
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return ARGV[2]
