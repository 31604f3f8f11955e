-- What admit.lua and enqueue.lua share: choosing among candidates, the budget, the place in the queue.
--
-- KEYS  1 job  2 budget of the month  3... queue of each candidate, then the script's own keys
-- ARGV  1 how many candidates  2 most waiting jobs  3 job's life in ms  4 job id  5 job JSON after its head; '' where
--         it follows (store_body.lua)
--       6 request hex  7 owner: whose job (key id)  8 priority: added to the score
--       9 budget of all, 10 of the key, in 1e-9 USD ('' for none)
--       11 of how many candidates a rank is that has more than are given, 0: none has
--       12 'now': a job must begin at once in such a rank, '': it must have room there; else the answer is 'more'
--       13 bytes of a large job, 0: it is small  14 most bytes that wait in a queue, 15 of an owner
--       16 what earlier attempts cost, in 1e-9 USD: reserved whatever this one costs
--       then of each candidate, best rank first: rank, slots, ms an attempt takes, ms more that this one takes,
--             longest wait in ms (0: any), cost in 1e-9 USD, head of the job JSON, model
--       then the script's own arguments
local job_at, budget_at = KEYS[1], KEYS[2]
local candidates = tonumber(ARGV[1])
local most_waiting, life_ms, job_id, job_tail = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local request, owner, priority = ARGV[6], ARGV[7], tonumber(ARGV[8])
local budget_of_all, budget_of_key = tonumber(ARGV[9]), tonumber(ARGV[10])
local shortened, must_begin = tonumber(ARGV[11]), ARGV[12] == 'now'
local size, most_bytes, most_owner_bytes = tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15])

local function queue(i) return KEYS[2 + i] end
local earlier = tonumber(ARGV[16])

local function field(i, n) return ARGV[16 + 8 * (i - 1) + n] end
local function rank(i) return field(i, 1) end
local function slots(i) return tonumber(field(i, 2)) end
local function service_ms(i) return tonumber(field(i, 3)) end
local function extra_ms(i) return tonumber(field(i, 4)) end
local function most_wait_ms(i) return tonumber(field(i, 5)) end
local function cost(i) return tonumber(field(i, 6)) end
local function job_head(i) return field(i, 7) end
local function model(i) return field(i, 8) end
local function own_key(n) return KEYS[2 + candidates + n] end
local function own_argument(n) return ARGV[16 + 8 * candidates + n] end

-- How much longer an attempt takes with all slots of its backend busy than with none: of backends that are alike, the
-- one that does least.
local BUSY = 0.5
-- Scores of jobs of normal priority: milliseconds since 1970, far from both ends.
local NORMAL, LOW = 1e12, 2.49e12
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number) return string.format('%.0f', number) end

-- Nothing if the cost fits into both budgets; else which of them it does not, and whether it would if nothing were
-- reserved: that passes.
local function unaffordable(nano_usd)
  local sums = redis.call('HMGET', budget_at, 'spent', 'held', 'spent:' .. owner, 'held:' .. owner, 'r:' .. request)
  for i = 1, 5 do sums[i] = tonumber(sums[i] or 0) end
  local spent, held, spent_by_key, held_by_key, held_already = unpack(sums)
  if budget_of_key and spent_by_key + held_by_key - held_already + nano_usd > budget_of_key then
    return spent_by_key + nano_usd > budget_of_key and 'key' or 'key held'
  end
  if budget_of_all and spent + held - held_already + nano_usd > budget_of_all then
    return spent + nano_usd > budget_of_all and 'all' or 'all held'
  end
end

-- Fair queueing by start tags: a key's jobs stand one apart, counted from the job that is next, so that the first
-- job of one key waits for one job of each other key, however many they have. Each priority has its own range.
-- Returns the score and whether other jobs of its priority wait.
local function turn(queue_key, again)
  local lowest, highest = NORMAL + priority, LOW + priority
  local head = redis.call('ZRANGEBYSCORE', queue_key, lowest, highest, 'WITHSCORES', 'LIMIT', 0, 1)
  if not head[2] then return now_ms + priority, false end
  local first = tonumber(head[2])
  if again then return first, true end
  -- Never behind what waits now: jobs that left or moved on are no use that was made of the backend.
  local tail = redis.call('ZREVRANGEBYSCORE', queue_key, highest, lowest, 'WITHSCORES', 'LIMIT', 0, 1)
  local own = tonumber(redis.call('HGET', fair_key(queue_key .. ':' .. whole(priority)), owner) or 0)
  return math.max(first, math.min(own, tonumber(tail[2])) + 1), true
end

-- How many jobs wait. Where that is as many as may, some of them are looked at, in no order: one whose JSON is gone
-- waits for nobody (its api died, or nobody came for it in time) and loses its place.
local LOOKED_AT = 16
local function count_waiting(queue_key)
  local waiting = redis.call('ZCARD', queue_key)
  if waiting < most_waiting then return waiting end
  for _, id in ipairs(redis.call('ZRANDMEMBER', queue_key, LOOKED_AT)) do
    if is_gone(id) then
      waiting = waiting - redis.call('ZREM', queue_key, id)
      release_bytes(id)
    end
  end
  return waiting
end

-- Whether a large job is one too many for the bytes that may wait under this name. As with places, some of those that
-- wait are looked at then.
local function is_too_much(name, most)
  if size == 0 or bytes_of(name) + size <= most then return false end
  for _, id in ipairs(redis.call('HRANDFIELD', bytes_key('waiting'), LOOKED_AT)) do
    local is_sum = string.match(id, '^[qk]:')
    if not is_sum and is_gone(id) then release_bytes(id) end
  end
  return bytes_of(name) + size > most
end

local function is_first(queue_key)
  local score, others = turn(queue_key)
  return not others or redis.call('ZCOUNT', queue_key, NORMAL + priority, '(' .. whole(score)) == 0
end

-- Whether a job that waits for this candidate may be taken over by another of its rank, and the other way round: it
-- costs nothing there, and the model is ready.
local function is_shared(i) return extra_ms(i) == 0 and cost(i) == 0 end

-- For the candidates of a rank: the expected wait of each in ms, the same with others of its rank taking over what waits
-- once they are free, and how many jobs run there.
local function waits(from, to, waiting_at)
  local alone, helped, running, own, all, ahead, per_ms = {}, {}, {}, {}, {}, 0, 0
  for i = from, to do
    local waiting = waiting_at[i]
    local before = waiting > 0 and redis.call('ZCOUNT', queue(i), '-inf', whole((turn(queue(i))))) or 0
    running[i] = redis.call('ZCOUNT', running_key(queue(i)), now_ms, '+inf')
    local in_line = before + running[i] - slots(i)
    alone[i] = in_line >= 0 and (in_line + 1) * service_ms(i) / slots(i) or 0
    if is_shared(i) and service_ms(i) > 0 then
      -- Another backend helps once it has done all that waits for itself, whoever's turn that is.
      own[i], all[i] = math.max(in_line, 0), math.max(waiting + running[i] - slots(i), 0)
      ahead = ahead + all[i]
      per_ms = per_ms + slots(i) / service_ms(i)
    end
  end
  for i = from, to do
    helped[i] = own[i] and per_ms > 0 and math.min(alone[i], (ahead - all[i] + own[i] + 1) / per_ms) or alone[i]
  end
  return alone, helped, running
end

-- The candidate of a rank with room that begins first, and of those that begin at once the fastest; else 0 and why not:
-- 'full', or which budget. Third, whether the job will have to wait there.
local function best(from, to, why)
  local alone, helped, running, waiting_at = { [from] = 0 }, { [from] = 0 }, { [from] = 0 }, {}
  for i = from, to do waiting_at[i] = count_waiting(queue(i)) end
  -- The wait for a lone candidate that is taken whatever it is need not be known.
  if candidates > 1 or most_wait_ms(from) ~= 0 then
    alone, helped, running = waits(from, to, waiting_at)
  end
  local chosen, chosen_begins_ms, chosen_takes_ms = 0, 0, 0
  for i = from, to do
    local waiting = waiting_at[i]
    -- Nobody fills a queue for all others: the first waiting job of a key has room in twice as long a one.
    local has_place = waiting < most_waiting or (waiting < 2 * most_waiting and is_first(queue(i)))
    if has_place and is_too_much('q:' .. queue(i), most_bytes) then
      if cost(i) == 0 then why = 'bytes' end
    elseif has_place then
      local begins_ms = alone[i] + extra_ms(i)
      local takes_ms = service_ms(i) * (1 + BUSY * running[i] / math.max(1, slots(i)))
      local is_better = chosen == 0
        or begins_ms < chosen_begins_ms
        or (begins_ms == chosen_begins_ms and takes_ms < chosen_takes_ms)
      if is_better and (most_wait_ms(i) == 0 or helped[i] <= most_wait_ms(i)) then
        local lacking = cost(i) > 0 and unaffordable(cost(i) + earlier)
        if lacking then
          why = why or lacking
        else
          chosen, chosen_begins_ms, chosen_takes_ms = i, begins_ms, takes_ms
        end
      end
    elseif cost(i) == 0 then
      why = 'full'
    end
  end
  return chosen, why, chosen > 0 and alone[chosen] > 0
end

-- What is added to the rank of a backend that takes nothing now (`CLOSED` in api/routing/live_backends.py).
local CLOSED = 100000
local function is_closed(i) return tonumber(rank(i)) >= CLOSED end
local function is_alike(i, other) return tonumber(rank(i)) % CLOSED == tonumber(rank(other)) % CLOSED end

-- The best candidate of the best rank that has one; else 0 and why: 'full', 'bytes', which budget, or 'more' where the candidates
-- that were not given may do better. Third, where the job has to wait, the first and the last candidate among which those
-- of its rank are; where it waits for one that takes nothing now those too that were only full.
local function choose()
  local chosen, why, must_wait, from = 0, nil, false, 1
  while from <= candidates do
    local to = from
    while to < candidates and rank(to + 1) == rank(from) do to = to + 1 end
    chosen, why, must_wait = best(from, to, why)
    if shortened > 0 and to - from + 1 == shortened then
      local is_better_known = chosen > 0 and not must_wait or not must_begin and (chosen > 0 or why ~= 'full' and why ~= 'bytes')
      if not is_better_known then return 0, 'more' end
    end
    if chosen > 0 and is_closed(chosen) then return chosen, nil, { 1, to } end
    if chosen > 0 then return chosen, nil, must_wait and { from, to } or nil end
    from = to + 1
  end
  return 0, why or 'full'
end

local function release()
  local held = redis.call('HGET', budget_at, 'r:' .. request)
  if held then
    redis.call('HINCRBY', budget_at, 'held', '-' .. held)
    redis.call('HINCRBY', budget_at, 'held:' .. owner, '-' .. held)
    redis.call('HDEL', budget_at, 'r:' .. request)
  end
end

local function hold(nano_usd)
  redis.call('HINCRBY', budget_at, 'held', nano_usd)
  redis.call('HINCRBY', budget_at, 'held:' .. owner, nano_usd)
  redis.call('HSET', budget_at, 'r:' .. request, nano_usd)
end

-- Lets a key live for as long as the job at least.
local function keep(key)
  if redis.call('PTTL', key) < life_ms then redis.call('PEXPIRE', key, life_ms) end
end

local function tag(queue_key, again)
  local score, others = turn(queue_key, again)
  local fair = fair_key(queue_key .. ':' .. whole(priority))
  if not again then
    if not others then redis.call('DEL', fair) end
    redis.call('HSET', fair, owner, whole(score))
    keep(fair)
  end
  return whole(score)
end

-- Notes for the others of its rank that a job waits which they could do too: claim.lua takes over from there. They are
-- woken, a worker of each: one may have a free slot that is still counted as running.
local function share(chosen, rank_from_to, score)
  for i = rank_from_to[1], rank_from_to[2] do
    if i ~= chosen and is_shared(i) and is_alike(i, chosen) then
      local shared = shared_key(queue(i))
      redis.call('ZADD', shared, score, queue(chosen) .. '\n' .. model(i) .. '\n' .. job_id)
      -- What was served since stays until somebody looks: two of them go for each that comes, and there is a bound.
      for _, note in ipairs(redis.call('ZRANGE', shared, 0, 1)) do
        local waits_at, id = string.match(note, '^(.-)\n.-\n(.*)$')
        if not redis.call('ZSCORE', waits_at, id) then redis.call('ZREM', shared, note) end
      end
      redis.call('ZREMRANGEBYRANK', shared, 2 * most_waiting, -1)
      keep(shared)
      wake(queue(i))
    end
  end
end

-- Records the request as open, and its api process among those that a recorder looks after: it says so at each of its
-- heartbeats too, but may die before the next one.
local function open(open_requests, record, apis, api)
  if api ~= '' and redis.call('HLEN', open_requests) == 0 then redis.call('SADD', apis, api) end
  redis.call('HSET', open_requests, request, record)
end

-- How long a reserved place waits for the job's body.
local ARRIVES_MS = 10000

local function put(chosen, again, rank_from_to, is_closed)
  local queue_key = queue(chosen)
  local reserved = cost(chosen) + earlier
  if reserved ~= 0 and not is_closed then hold(whole(reserved)) end
  if job_tail == '' then
    redis.call('SET', arriving_key(job_id), job_head(chosen), 'PX', ARRIVES_MS)
  else
    redis.call('SET', job_at, job_head(chosen) .. job_tail, 'PX', life_ms)
  end
  if size > 0 then
    reserve_bytes(job_id, size, owner, queue_key)
    keep(bytes_key('waiting'))
  end
  local score = tag(queue_key, again)
  redis.call('ZADD', queue_key, score, job_id)
  if rank_from_to and is_shared(chosen) then share(chosen, rank_from_to, score) end
  if job_tail ~= '' then wake(queue_key) end
end
