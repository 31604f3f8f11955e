-- Puts a further attempt of an open request into a queue, or moves one that still waits to another queue. A job that
-- is moved is taken out in the same step, and stays where it is if nothing else has room. Its JSON need not
-- be sent again. Stands after wake.lua, bytes.lua and place.lua.
--
-- own KEYS  none to add; to move or look: 1 queue where the job waits  2 that job
-- own ARGV  1 mode: 'add'; 'move'; 'look': as 'move', but only says what would be chosen
--           2 to move or look: id of the job that waits
-- returns the candidate from 1, 0 when none has room or can be paid, -1 when the job does not wait any more,
--         -2 when it is to be asked with more candidates
local mode, waits_at, waiting_job, waiting_id = own_argument(1), own_key(1), own_key(2), own_argument(2)
local moves = mode ~= 'add'
if moves and not redis.call('ZSCORE', waits_at, waiting_id) then return -1 end
if moves and redis.call('EXISTS', waiting_job) == 0 then return 0 end  -- its body is on the way
local chosen, why, rank_from_to = choose()
if why == 'more' then return -2 end
if chosen == 0 or mode == 'look' then return chosen end
if moves then
  local waiting = redis.call('GET', waiting_job)
  job_tail = string.sub(waiting, string.find(waiting, ',"request_id":', 1, true), -1)
  redis.call('ZREM', waits_at, waiting_id)
  release_bytes(waiting_id)
  redis.call('DEL', waiting_job)
end
release()
put(chosen, not moves, rank_from_to)  -- a further attempt waited for its turn before, and does not wait again
return chosen
