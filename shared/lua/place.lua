-- What admit.lua and enqueue.lua share: choosing among candidates, the budget, the place in the queue.
--
-- KEYS  1 job  2 budget of the month  3, 4, 5 the script's own  6... queue of each candidate
-- ARGV  1 most waiting jobs  2 job's life in ms  3 job id  4 job JSON after its head  5 request hex
--       6 whose job (key id)  7 added to the score  8 budget of all, 9 of the key, in 1e-9 USD ('' for none)
--       10, 11 the script's own
--       12... of each candidate, best rank first: rank, slots, ms an attempt takes, ms more that this one takes,
--             longest wait in ms (0: any), cost in 1e-9 USD, head of the job JSON
local FIRST_QUEUE, FIRST, FIELDS = 6, 12, 7
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
  -- Never behind what waits now: jobs that left or moved on are no use that was made of the lane.
  local tail = redis.call('ZREVRANGEBYSCORE', queue, LOW + shift, NORMAL + shift, 'WITHSCORES', 'LIMIT', 0, 1)
  local own = tonumber(redis.call('HGET', 'claw:fair:' .. queue .. ':' .. ARGV[7], ARGV[6]) or 0)
  return math.max(first, math.min(own, tonumber(tail[2])) + 1), true
end

local function is_first(queue)
  local score, others = turn(queue)
  return not others or redis.call('ZCOUNT', queue, NORMAL + ARGV[7], '(' .. whole(score)) == 0
end

-- The candidate of the best rank with room, in it the one that begins first; else 0 and why: 'full', or which budget.
local function choose()
  local count = (#ARGV - FIRST + 1) / FIELDS
  local chosen, chosen_rank, chosen_ms, why = 0, 0, 0, nil
  local most = tonumber(ARGV[1])
  for i = 1, count do
    local at = FIRST + (i - 1) * FIELDS
    local rank, slots, service_ms = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    if chosen > 0 and rank > chosen_rank then break end
    local queue = KEYS[FIRST_QUEUE + i - 1]
    local waiting = redis.call('ZCARD', queue)
    -- Nobody fills a queue for all others: the first waiting job of a key has room in twice as long a one.
    if waiting < most or (waiting < 2 * most and is_first(queue)) then
      local most_ms, cost = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
      local wait_ms = 0
      if count > 1 or most_ms > 0 then
        local before = waiting > 0 and redis.call('ZCOUNT', queue, '-inf', whole((turn(queue)))) or 0
        local ahead = before + redis.call('ZCOUNT', 'claw:running:' .. queue, now_ms, '+inf') - slots
        if ahead >= 0 then wait_ms = (ahead + 1) * service_ms / slots end
      end
      if most_ms == 0 or wait_ms <= most_ms then
        local begins_ms = wait_ms + tonumber(ARGV[at + 3])
        if chosen == 0 or begins_ms < chosen_ms then
          local lacking = cost > 0 and unaffordable(cost)
          if lacking then
            why = why or lacking
          else
            chosen, chosen_rank, chosen_ms = i, rank, begins_ms
          end
        end
      end
    elseif ARGV[at + 5] == '0' then
      why = 'full'
    end
  end
  return chosen, why or 'full'
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

local function tag(queue, again)
  local at, others = turn(queue, again)
  local fair = 'claw:fair:' .. queue .. ':' .. ARGV[7]
  if not again then
    if not others then redis.call('DEL', fair) end
    redis.call('HSET', fair, ARGV[6], whole(at))
    redis.call('PEXPIRE', fair, ARGV[2])
  end
  return whole(at)
end

local function put(chosen, again)
  local at, queue = FIRST + (chosen - 1) * FIELDS, KEYS[FIRST_QUEUE + chosen - 1]
  if ARGV[at + 5] ~= '0' then hold(ARGV[at + 5]) end
  redis.call('SET', KEYS[1], ARGV[at + 6] .. ARGV[4], 'PX', ARGV[2])
  redis.call('ZADD', queue, tag(queue, again), ARGV[3])
  redis.call('PUBLISH', 'claw:wake:' .. queue, '')
end
