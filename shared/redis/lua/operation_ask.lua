-- Writes an operation for a model, unless one of its kind is still to be done: then that one stands.
--
-- KEYS  1 operations of a backend
-- ARGV  1 model  2 the operation  3 its kind  4 life of the hash in ms  5 how many operations there may be
-- returns the operation that stands; nothing when there are too many
local operations = KEYS[1]
local model, wanted, kind, life_ms, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local held = redis.call('HGET', operations, model)
if held then
  local readable, operation = pcall(cjson.decode, held)
  if readable and type(operation) == 'table' and operation.kind == kind and (operation.state == 'waiting' or operation.state == 'running') then
    return held
  end
elseif redis.call('HLEN', operations) >= most then
  return false
end
redis.call('HSET', operations, model, wanted)
redis.call('PEXPIRE', operations, life_ms)
return wanted
