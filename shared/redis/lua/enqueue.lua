-- Puts a further attempt of an open request into a queue, or moves one that still waits to another queue. A job that
-- is moved is taken out in the same step, and stays where it is if nothing else has room. Its JSON need not
-- be sent again. Stands after wake.lua, bytes.lua and place.lua.
--
-- Only what is open reserves: whoever closes it releases that. A request that Redis cannot know, since it lost its data
-- after the admission, is opened again. One that it has known all the time and that is not open was closed, which its api
-- has not heard: the end of this attempt changes nothing (finish.lua).
--
-- own KEYS  1 open requests of the api  2 api processes  3 since when Redis knows the api's requests
--           to move or look: 4 queue where the job waits  5 that job
-- own ARGV  1 mode: 'add'; 'move'; 'look': as 'move', but only says what would be chosen
--           2 open record  3 id of the api, '' where it is none that can die  4 when the request was admitted, in ms
--           to move or look: 5 id of the job that waits
-- returns the candidate from 1, 0 when none has room or can be paid, -1 when the job does not wait any more,
--         -2 when it is to be asked with more candidates
local mode, waits_at, waiting_job, waiting_id = own_argument(1), own_key(4), own_key(5), own_argument(5)
local open_requests, since = own_key(1), tonumber(redis.call('GET', own_key(3)))
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
local is_closed = redis.call('HEXISTS', open_requests, request) == 0
if is_closed and not (since and tonumber(own_argument(4)) >= since) then
  open(open_requests, own_argument(2), own_key(2), own_argument(3))
  is_closed = false
end
release()
put(chosen, not moves, rank_from_to, is_closed)  -- a further attempt waited for its turn before, and does not wait again
return chosen
