-- Writes how far an operation is, or forgets it, unless a newer operation for its model has come.
--
-- KEYS  1 operations of a backend
-- ARGV  1 model  2 id of the operation  3 the operation, empty to forget it  4 life of the hash in ms
-- returns whether it still stands
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local readable, operation = pcall(cjson.decode, held)
  if readable and type(operation) == 'table' and operation.id ~= ARGV[2] then
    return 0
  end
end
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
