-- What admit.lua and enqueue.lua share: choosing among candidates, the budget, the place in the queue.
--
-- KEYS  1 job  2 budget of the month  3, 4, 5 the script's own  6... queue of each candidate
-- ARGV  1 most waiting jobs  2 job's life in ms  3 job id  4 job JSON after its head  5 request hex
--       6 whose job (key id)  7 added to the score  8 budget of all, 9 of the key, in 1e-9 USD ('' for none)
--       10, 11 the script's own
--       12... of each candidate, best rank first: rank, slots, ms an attempt takes, ms more that this one takes,
--             longest wait in ms (0: any), cost in 1e-9 USD, head of the job JSON, model
local FIRST_QUEUE, FIRST, FIELDS = 6, 12, 8
-- How much longer an attempt takes with all slots of its host busy than with none: of hosts that are alike, the one that
-- does least.
local BUSY = 0.5
-- Scores of jobs of normal priority: milliseconds since 1970, far from both ends.
local NORMAL, LOW = 1e12, 2.49e12
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)

local function whole(number) return string.format('%.0f', number) end

-- Nothing if the cost fits into both budgets; else which of them it does not, and whether it would if nothing were
-- reserved: that passes.
local function unaffordable(cost)
  local spent = redis.call('HMGET', KEYS[2], 'spent', 'held', 'spent:' .. ARGV[6], 'held:' .. ARGV[6], 'r:' .. ARGV[5])
  for i = 1, 5 do spent[i] = tonumber(spent[i] or 0) end
  local cap, key_cap = tonumber(ARGV[8]), tonumber(ARGV[9])
  if key_cap and spent[3] + spent[4] - spent[5] + cost > key_cap then
    return spent[3] + cost > key_cap and 'key' or 'key held'
  end
  if cap and spent[1] + spent[2] - spent[5] + cost > cap then return spent[1] + cost > cap and 'all' or 'all held' end
end

-- Fair queueing by start tags: a key's jobs stand one apart, counted from the job that is next, so that the first
-- job of one key waits for one job of each other key, however many they have. Each priority has its own range.
-- Returns the score and whether other jobs of its priority wait.
local function turn(queue, again)
  local shift = tonumber(ARGV[7])
  local head = redis.call('ZRANGEBYSCORE', queue, NORMAL + shift, LOW + shift, 'WITHSCORES', 'LIMIT', 0, 1)
  if not head[2] then return now_ms + shift, false end
  local first = tonumber(head[2])
  if again then return first, true end
  -- Never behind what waits now: jobs that left or moved on are no use that was made of the backend.
  local tail = redis.call('ZREVRANGEBYSCORE', queue, LOW + shift, NORMAL + shift, 'WITHSCORES', 'LIMIT', 0, 1)
  local own = tonumber(redis.call('HGET', 'claw:fair:' .. queue .. ':' .. ARGV[7], ARGV[6]) or 0)
  return math.max(first, math.min(own, tonumber(tail[2])) + 1), true
end

local function is_first(queue)
  local score, others = turn(queue)
  return not others or redis.call('ZCOUNT', queue, NORMAL + ARGV[7], '(' .. whole(score)) == 0
end

-- Whether a job that waits for this candidate may be taken over by another of its rank, and the other way round: it
-- costs nothing there, and the model is ready.
local function is_shared(at) return ARGV[at + 3] == '0' and ARGV[at + 5] == '0' end

-- For the candidates of a rank: the expected wait of each in ms, the same with others of its rank taking over what waits
-- once they are free, and how many jobs run there.
local function waits(from, to)
  local alone, helped, running, own, all, ahead, per_ms = {}, {}, {}, {}, {}, 0, 0
  for i = from, to do
    local at, queue = FIRST + (i - 1) * FIELDS, KEYS[FIRST_QUEUE + i - 1]
    local slots, service_ms = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local waiting = redis.call('ZCARD', queue)
    local before = waiting > 0 and redis.call('ZCOUNT', queue, '-inf', whole((turn(queue)))) or 0
    running[i] = redis.call('ZCOUNT', 'claw:running:' .. queue, now_ms, '+inf')
    local in_line = before + running[i] - slots
    alone[i] = in_line >= 0 and (in_line + 1) * service_ms / slots or 0
    if is_shared(at) and service_ms > 0 then
      -- Another host helps once it has done all that waits for itself, whoever's turn that is.
      own[i], all[i] = math.max(in_line, 0), math.max(waiting + running[i] - slots, 0)
      ahead = ahead + all[i]
      per_ms = per_ms + slots / service_ms
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
  local most, first = tonumber(ARGV[1]), FIRST + (from - 1) * FIELDS
  local alone, helped, running = { [from] = 0 }, { [from] = 0 }, { [from] = 0 }
  -- The wait for a lone candidate that is taken whatever it is need not be known.
  if to > from or from > 1 or first + FIELDS <= #ARGV or ARGV[first + 4] ~= '0' then
    alone, helped, running = waits(from, to)
  end
  local chosen, chosen_begins_ms, chosen_takes_ms = 0, 0, 0
  for i = from, to do
    local at, queue = FIRST + (i - 1) * FIELDS, KEYS[FIRST_QUEUE + i - 1]
    local waiting = redis.call('ZCARD', queue)
    -- Nobody fills a queue for all others: the first waiting job of a key has room in twice as long a one.
    if waiting < most or (waiting < 2 * most and is_first(queue)) then
      local most_ms, cost = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
      local begins_ms = alone[i] + ARGV[at + 3]
      local takes_ms = ARGV[at + 2] * (1 + BUSY * running[i] / math.max(1, ARGV[at + 1]))
      local is_better = chosen == 0
        or begins_ms < chosen_begins_ms
        or (begins_ms == chosen_begins_ms and takes_ms < chosen_takes_ms)
      if is_better and (most_ms == 0 or helped[i] <= most_ms) then
        local lacking = cost > 0 and unaffordable(cost)
        if lacking then
          why = why or lacking
        else
          chosen, chosen_begins_ms, chosen_takes_ms = i, begins_ms, takes_ms
        end
      end
    elseif ARGV[at + 5] == '0' then
      why = 'full'
    end
  end
  return chosen, why, chosen > 0 and alone[chosen] > 0
end

-- The best candidate of the best rank that has one; else 0 and why: 'full', or which budget. Third, where the job has to
-- wait, the first and the last candidate of that rank.
local function choose()
  local count = (#ARGV - FIRST + 1) / FIELDS
  local chosen, why, must_wait, from = 0, nil, false, 1
  while from <= count do
    local to, rank = from, ARGV[FIRST + (from - 1) * FIELDS]
    while to < count and ARGV[FIRST + to * FIELDS] == rank do to = to + 1 end
    chosen, why, must_wait = best(from, to, why)
    if chosen > 0 then return chosen, nil, must_wait and { from, to } or nil end
    from = to + 1
  end
  return 0, why or 'full'
end

local function release()
  local held = redis.call('HGET', KEYS[2], 'r:' .. ARGV[5])
  if held then
    redis.call('HINCRBY', KEYS[2], 'held', '-' .. held)
    redis.call('HINCRBY', KEYS[2], 'held:' .. ARGV[6], '-' .. held)
    redis.call('HDEL', KEYS[2], 'r:' .. ARGV[5])
  end
end

local function hold(cost)
  redis.call('HINCRBY', KEYS[2], 'held', cost)
  redis.call('HINCRBY', KEYS[2], 'held:' .. ARGV[6], cost)
  redis.call('HSET', KEYS[2], 'r:' .. ARGV[5], cost)
end

-- Lets a key live for as long as the job at least.
local function keep(key)
  if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
end

local function tag(queue, again)
  local at, others = turn(queue, again)
  local fair = 'claw:fair:' .. queue .. ':' .. ARGV[7]
  if not again then
    if not others then redis.call('DEL', fair) end
    redis.call('HSET', fair, ARGV[6], whole(at))
    keep(fair)
  end
  return whole(at)
end

-- Tells the others of its rank that a job waits which they could do too: claim.lua takes over from there. They are woken,
-- since one may have a free slot already that is still counted as running.
local function share(chosen, rank, score)
  local queue = KEYS[FIRST_QUEUE + chosen - 1]
  for i = rank[1], rank[2] do
    local at = FIRST + (i - 1) * FIELDS
    if i ~= chosen and is_shared(at) then
      local shared = 'claw:shared:' .. KEYS[FIRST_QUEUE + i - 1]
      redis.call('ZADD', shared, score, queue .. '\n' .. ARGV[at + 7] .. '\n' .. ARGV[3])
      -- What was served since stays until somebody looks: two of them go for each that comes, and there is a bound.
      for _, note in ipairs(redis.call('ZRANGE', shared, 0, 1)) do
        local waits_at, id = string.match(note, '^(.-)\n.-\n(.*)$')
        if not redis.call('ZSCORE', waits_at, id) then redis.call('ZREM', shared, note) end
      end
      redis.call('ZREMRANGEBYRANK', shared, 2 * ARGV[1], -1)
      keep(shared)
      redis.call('PUBLISH', 'claw:wake:' .. KEYS[FIRST_QUEUE + i - 1], '')
    end
  end
end

local function put(chosen, again, rank)
  local at, queue = FIRST + (chosen - 1) * FIELDS, KEYS[FIRST_QUEUE + chosen - 1]
  if ARGV[at + 5] ~= '0' then hold(ARGV[at + 5]) end
  redis.call('SET', KEYS[1], ARGV[at + 6] .. ARGV[4], 'PX', ARGV[2])
  local score = tag(queue, again)
  redis.call('ZADD', queue, score, ARGV[3])
  if rank and is_shared(at) then share(chosen, rank, score) end
  redis.call('PUBLISH', 'claw:wake:' .. queue, '')
end
