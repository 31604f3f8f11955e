-- Chooses an account for an attempt and takes what that needs of its quotas, in one step: a refusal takes nothing.
-- The open account with the most headroom is taken; else one that is to be probed (one attempt at a time).
--
-- KEYS  1 closed models of the backend, then of each account: account, breaker, quota, minute, tokens, day
-- ARGV  1 how: take; last: nothing else can serve; force: the same, and it cannot wait for a minute's quota; peek
--       2 model  3 prompt tokens  4 reservation  5 life of a probe in ms  6 ms until the day ends
--       7 '1' where uses are counted  then of each account: id, its credential's fingerprint,
--       requests a minute, prompt tokens a minute, requests a day (0: no limit)
-- returns {'ok', account's number, '' | 'probe' | 'forced', ms until which the backend is closed now, or 0}
--         {'open', closed until, numbers of the open accounts ...} to a peek
--         {'closed', closed until, then of the account that is back first: why, ms until it ends, last error; now,
--          ms until which a minute's quota is worth waiting for, or 0}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local how, model, counted = ARGV[1], ARGV[2], ARGV[7] == '1'
local minute, retry, life = 60000, 1000, 172800000
local accounts = (#ARGV - 7) / 5

local function key(i, part) return KEYS[6 * i - 5 + part] end
local function arg(i, part) return ARGV[5 * i + 2 + part] end

local function lower(one, other)
  one, other = tonumber(one) or 0, tonumber(other) or 0
  if one == 0 or (other > 0 and other < one) then return other end
  return one
end

local function forget_old(i)
  for _, use in ipairs(redis.call('ZRANGEBYSCORE', key(i, 4), '-inf', now - minute)) do
    local tokens = redis.call('HGET', key(i, 5), use) or 0
    redis.call('HINCRBY', key(i, 5), 'total', 0 - tokens)
    redis.call('HDEL', key(i, 5), use)
    redis.call('ZREM', key(i, 4), use)
  end
end

local function enough_freed(i, tokens)
  local uses = redis.call('ZRANGE', key(i, 4), 0, -1, 'WITHSCORES')
  for n = 1, #uses, 2 do
    tokens = tokens - (redis.call('HGET', key(i, 5), uses[n]) or 0)
    if tokens <= 0 then return uses[n + 1] + minute end
  end
  return now + minute
end

-- Whether a hash with `until`, `probe` and `error` closes an account: then until when; else that it is to be probed.
local function cooling(hash, why)
  local known = redis.call('HMGET', hash, 'until', 'probe', 'error')
  local ends, probed = tonumber(known[1]) or 0, tonumber(known[2]) or 0
  if ends > now then return {why = why, ends = ends, error = known[3]} end
  if probed > now then return {why = why, ends = now + retry, error = known[3]} end
  return {probe = true, room = 0}
end

local function look(i, asked)
  local state = {room = 1}
  if redis.call('HGET', key(i, 1), 'rejected') == arg(i, 2) then
    state = cooling(key(i, 1), 'rejected')
    if state.why then return state end
  end
  if redis.call('EXISTS', key(i, 2)) == 1 then
    state = cooling(key(i, 2), 'failing')
    if state.why then return state end
  end
  local quota = redis.call('HMGET', key(i, 3), 'cool', 'period', 'error', 'learned', 'rpm', 'tpm', 'rpd')
  if (tonumber(quota[1]) or 0) > now then
    return {why = quota[2] == 'minute' and 'minute' or quota[2] == 'day' and 'told' or 'cooling',
            ends = tonumber(quota[1]), error = quota[3]}
  end
  if not counted then return state end
  forget_old(i)
  local learned = (tonumber(quota[4]) or 0) > now
  local rpm = lower(arg(i, 3), learned and quota[5])
  local tpm = lower(arg(i, 4), learned and quota[6])
  local rpd = lower(arg(i, 5), learned and quota[7])
  local requests = redis.call('ZCARD', key(i, 4))
  local tokens = tonumber(redis.call('HGET', key(i, 5), 'total')) or 0
  local today = tonumber(redis.call('HGET', key(i, 6), 'model:' .. model)) or 0
  if rpd > 0 and today >= rpd then return {why = 'day', ends = now + tonumber(ARGV[6])} end
  if rpm > 0 and requests >= rpm then
    local nth = requests - rpm
    return {why = 'minute', ends = redis.call('ZRANGE', key(i, 4), nth, nth, 'WITHSCORES')[2] + minute}
  end
  -- A prompt that is larger than the whole quota is for another tier; where there is none, Google may decide.
  if tpm > 0 and tokens + asked > tpm and (tokens > 0 or how == 'take' or how == 'peek') then
    return {why = 'minute', ends = enough_freed(i, math.min(tokens, tokens + asked - tpm))}
  end
  if rpm > 0 then state.room = math.min(state.room, (rpm - requests) / rpm) end
  if tpm > 0 then state.room = math.min(state.room, (tpm - tokens) / tpm) end
  if rpd > 0 then state.room = math.min(state.room, (rpd - today) / rpd) end
  return state
end

-- Whether a closed account is back before another one; a credential that was refused is not back by itself.
local function sooner(one, other)
  if (one.why == 'rejected') ~= (other.why == 'rejected') then return other.why == 'rejected' end
  return one.ends < other.ends
end

-- Writes down until when no account can serve the model, not even the smallest prompt; 0 where one can.
local function shut()
  local first, all_rejected, open = nil, true, {}
  for i = 1, accounts do
    local state = look(i, 1)
    if not state.why then open[#open + 1] = i end
    if state.why ~= 'rejected' then all_rejected = false end
    if state.why and (not first or sooner(state, first)) then first = state end
  end
  if #open > 0 or not first then return 0, open end
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 3600000)
  redis.call('ZADD', KEYS[1], first.ends, all_rejected and '' or model)
  redis.call('PEXPIRE', KEYS[1], life)
  return first.ends, open
end

if how == 'peek' then
  local closed, open = shut()
  return {'open', closed, unpack(open)}
end
local states, best = {}, nil
for i = 1, accounts do
  states[i] = look(i, tonumber(ARGV[3]))
  local state, other = states[i], best and states[best]
  if not state.why and (not other or (other.probe and not state.probe)
      or (other.probe == state.probe and state.room > other.room)) then best = i end
end
local role = best and (states[best].probe and 'probe' or '') or 'forced'
if not best then
  -- The least bad one, if it was not tried in this way within the last second. Of a later hundred, where a try is as
  -- good as in vain, only while there is none of an earlier one.
  local ranks = {minute = how == 'force' and 1 or 0, cooling = 2, failing = 2, day = 101, told = 102, rejected = 201}
  local least, due, first = nil, nil, nil
  local function worse(i, j)
    local one, other = ranks[states[i].why], ranks[states[j].why]
    if one == other then return states[i].ends > states[j].ends end
    return one > other
  end
  for i = 1, accounts do
    if not least or worse(least, i) then least = i end
    if not first or sooner(states[i], first) then first = states[i] end
  end
  local rank = ranks[states[least].why]
  for i = 1, accounts do
    local is_hopeless = math.floor(ranks[states[i].why] / 100) > math.floor(rank / 100)
    if not is_hopeless and (tonumber(redis.call('HGET', key(i, 1), 'forced')) or 0) + retry <= now then
      if not due or worse(due, i) then due = i end
    end
  end
  if how == 'take' or not due or rank == 0 then
    local closed = shut()
    local waits = how == 'last' and rank == 0 and states[least].ends or 0
    return {'closed', closed, first.why, first.ends, first.error or '', now, waits}
  end
  best = due
  redis.call('HSET', key(best, 1), 'forced', now)
  redis.call('PEXPIRE', key(best, 1), life)
elseif role == 'probe' then
  local lease = now + tonumber(ARGV[5])
  if redis.call('HGET', key(best, 1), 'rejected') == arg(best, 2) then redis.call('HSET', key(best, 1), 'probe', lease) end
  if redis.call('EXISTS', key(best, 2)) == 1 then redis.call('HSET', key(best, 2), 'probe', lease) end
end
local closed = 0
if counted then
  local use = arg(best, 1) .. ' ' .. ARGV[4]
  redis.call('ZADD', key(best, 4), now, use)
  redis.call('HSET', key(best, 5), use, ARGV[3])
  redis.call('HINCRBY', key(best, 5), 'total', ARGV[3])
  redis.call('PEXPIRE', key(best, 4), 2 * minute)
  redis.call('PEXPIRE', key(best, 5), 2 * minute)
  redis.call('HINCRBY', key(best, 6), 'model:' .. model, 1)
  redis.call('HINCRBY', key(best, 6), 'requests:' .. arg(best, 1), 1)
  redis.call('PEXPIRE', key(best, 6), life)
end
if role == '' then redis.call('ZREM', KEYS[1], model, '') end
if counted and look(best, 1).why then closed = shut() end
return {'ok', best, role, closed}
