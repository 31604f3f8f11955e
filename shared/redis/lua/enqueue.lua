-- Puts a further attempt of an open request into a queue. With an earlier job that still waits, it is taken out in the
-- same step, and stays where it is if nothing else has room. Stands after place.lua.
--
-- KEYS  3 queue of the earlier job  4 the earlier job
-- ARGV  10 the earlier job's id, or ''  11 'look': only say what would be chosen
-- returns the candidate from 1, 0 when none has room or can be paid, -1 when the earlier job does not wait any more
if ARGV[10] ~= '' and not redis.call('ZSCORE', KEYS[3], ARGV[10]) then return -1 end
local chosen, _, rank = choose()
if chosen == 0 or ARGV[11] == 'look' then return chosen end
if ARGV[10] ~= '' then
  redis.call('ZREM', KEYS[3], ARGV[10])
  redis.call('DEL', KEYS[4])
end
release()
put(chosen, ARGV[10] == '', rank)  -- one that waited for its turn before does not wait again
return chosen
