-- Writes how far an operation is, or forgets it, unless a newer operation for its model has come.
--
-- KEYS  1 operations of a backend
-- ARGV  1 model  2 id of the operation  3 the operation, empty to forget it  4 life of the hash in ms
-- returns whether it still stands
local operations = KEYS[1]
local model, id, changed, life_ms = unpack(ARGV)
local held = redis.call('HGET', operations, model)
if held then
  local readable, operation = pcall(cjson.decode, held)
  if readable and type(operation) == 'table' and operation.id ~= id then
    return 0
  end
end
if changed == '' then
  redis.call('HDEL', operations, model)
else
  redis.call('HSET', operations, model, changed)
end
redis.call('PEXPIRE', operations, life_ms)
return 1
