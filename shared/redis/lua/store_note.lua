-- Writes how far a wish is, or forgets it, unless a newer wish for its model has come.
--
-- KEYS  1 wishes of a backend
-- ARGV  1 model  2 id of the wish  3 the wish, empty to forget it  4 life of the hash in ms
-- returns whether it still stands
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
  local readable, wish = pcall(cjson.decode, held)
  if readable and type(wish) == 'table' and wish.id ~= ARGV[2] then
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
