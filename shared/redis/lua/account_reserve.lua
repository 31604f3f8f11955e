-- Chooses an account for an attempt and takes what that needs of its quotas, in one step: a refusal takes nothing.
-- The open account with the most headroom is taken; else one that is to be probed (one attempt at a time).
--
-- KEYS  1 closed models of the backend, then of each account: account, breaker, quota, minute, tokens, day
-- ARGV  1 how: take; last: nothing else can serve; force: the same, and it cannot wait for a minute's quota; peek
--       2 model  3 prompt tokens  4 reservation  5 life of a probe in ms  6 ms until the day ends
--       7 '1' where uses are counted  8 requests that the attempt makes  then of each account: id, its credential's fingerprint,
--       requests a minute, prompt tokens a minute, requests a day (0: no limit)
-- returns {'ok', account's number, '' | 'probe' | 'forced', ms until which the backend is closed now, or 0}
--         {'open', closed until, numbers of the open accounts ...} to a peek
--         {'closed', closed until, then of the account that is back first: why, ms until it ends, last error; now,
--          ms until which a minute's quota is worth waiting for, or 0}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local closed_models = KEYS[1]
local how, model, prompt_tokens, reservation = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local probe_ms, day_ends_ms, counted = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7] == '1'
local requested = tonumber(ARGV[8])
local minute, retry, life = 60000, 1000, 172800000
local accounts = (#ARGV - 8) / 5

local function account_at(i) return KEYS[6 * i - 4] end
local function breaker_at(i) return KEYS[6 * i - 3] end
local function quota_at(i) return KEYS[6 * i - 2] end
local function minute_at(i) return KEYS[6 * i - 1] end
local function tokens_at(i) return KEYS[6 * i] end
local function day_at(i) return KEYS[6 * i + 1] end
local function account_id(i) return ARGV[5 * i + 4] end
local function fingerprint(i) return ARGV[5 * i + 5] end
local function most_rpm(i) return ARGV[5 * i + 6] end
local function most_tpm(i) return ARGV[5 * i + 7] end
local function most_rpd(i) return ARGV[5 * i + 8] end

local function lower(one, other)
  one, other = tonumber(one) or 0, tonumber(other) or 0
  if one == 0 or (other > 0 and other < one) then return other end
  return one
end

local function forget_old(i)
  for _, use in ipairs(redis.call('ZRANGEBYSCORE', minute_at(i), '-inf', now - minute)) do
    local tokens = redis.call('HGET', tokens_at(i), use) or 0
    redis.call('HINCRBY', tokens_at(i), 'total', 0 - tokens)
    redis.call('HDEL', tokens_at(i), use)
    redis.call('ZREM', minute_at(i), use)
  end
end

local function enough_freed(i, tokens)
  local uses = redis.call('ZRANGE', minute_at(i), 0, -1, 'WITHSCORES')
  for n = 1, #uses, 2 do
    tokens = tokens - (redis.call('HGET', tokens_at(i), uses[n]) or 0)
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

-- Whether an account can take so many requests with so many prompt tokens.
local function look(i, asked, wanted)
  local state = {room = 1}
  if redis.call('HGET', account_at(i), 'rejected') == fingerprint(i) then
    state = cooling(account_at(i), 'rejected')
    if state.why then return state end
  end
  if redis.call('EXISTS', breaker_at(i)) == 1 then
    state = cooling(breaker_at(i), 'failing')
    if state.why then return state end
  end
  local quota = redis.call('HMGET', quota_at(i), 'cool', 'period', 'error', 'learned', 'rpm', 'tpm', 'rpd')
  if (tonumber(quota[1]) or 0) > now then
    return {why = quota[2] == 'minute' and 'minute' or quota[2] == 'day' and 'day_reported' or 'cooling',
            ends = tonumber(quota[1]), error = quota[3]}
  end
  if not counted then return state end
  forget_old(i)
  local learned = (tonumber(quota[4]) or 0) > now
  local rpm = lower(most_rpm(i), learned and quota[5])
  local tpm = lower(most_tpm(i), learned and quota[6])
  local rpd = lower(most_rpd(i), learned and quota[7])
  local made = redis.call('ZCARD', minute_at(i))
  local tokens = tonumber(redis.call('HGET', tokens_at(i), 'total')) or 0
  local today = tonumber(redis.call('HGET', day_at(i), 'model:' .. model)) or 0
  if rpd > 0 and today + wanted > rpd then return {why = 'day', ends = now + day_ends_ms} end
  -- More at once than a whole minute has: as with a prompt that is too large, below.
  if rpm > 0 and made + wanted > rpm and (made > 0 or how == 'take' or how == 'peek') then
    local nth = math.min(made, made + wanted - rpm) - 1
    local last = made > 0 and redis.call('ZRANGE', minute_at(i), nth, nth, 'WITHSCORES')[2] or now
    return {why = 'minute', ends = last + minute}
  end
  -- A prompt that is larger than the whole quota is for another tier; where there is none, Google may decide.
  if tpm > 0 and tokens + asked > tpm and (tokens > 0 or how == 'take' or how == 'peek') then
    return {why = 'minute', ends = enough_freed(i, math.min(tokens, tokens + asked - tpm))}
  end
  if rpm > 0 then state.room = math.min(state.room, (rpm - made) / rpm) end
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
    local state = look(i, 1, 1)
    if not state.why then open[#open + 1] = i end
    if state.why ~= 'rejected' then all_rejected = false end
    if state.why and (not first or sooner(state, first)) then first = state end
  end
  if #open > 0 or not first then return 0, open end
  redis.call('ZREMRANGEBYSCORE', closed_models, '-inf', now - 3600000)
  redis.call('ZADD', closed_models, first.ends, all_rejected and '' or model)
  redis.call('PEXPIRE', closed_models, life)
  return first.ends, open
end

if how == 'peek' then
  local closed, open = shut()
  return {'open', closed, unpack(open)}
end
local states, best = {}, nil
for i = 1, accounts do
  states[i] = look(i, prompt_tokens, requested)
  local state, other = states[i], best and states[best]
  if not state.why and (not other or (other.probe and not state.probe)
      or (other.probe == state.probe and state.room > other.room)) then best = i end
end
local role = best and (states[best].probe and 'probe' or '') or 'forced'
if not best then
  -- The least bad one, if it was not tried in this way within the last second. Of a later hundred, where a try is as
  -- good as in vain, only while there is none of an earlier one.
  local ranks = {minute = how == 'force' and 1 or 0, cooling = 2, failing = 2, day = 101, day_reported = 102, rejected = 201}
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
    if not is_hopeless and (tonumber(redis.call('HGET', account_at(i), 'forced')) or 0) + retry <= now then
      if not due or worse(due, i) then due = i end
    end
  end
  if how == 'take' or not due or rank == 0 then
    local closed = shut()
    local waits = how == 'last' and rank == 0 and states[least].ends or 0
    return {'closed', closed, first.why, first.ends, first.error or '', now, waits}
  end
  best = due
  redis.call('HSET', account_at(best), 'forced', now)
  redis.call('PEXPIRE', account_at(best), life)
elseif role == 'probe' then
  local lease = now + probe_ms
  if redis.call('HGET', account_at(best), 'rejected') == fingerprint(best) then redis.call('HSET', account_at(best), 'probe', lease) end
  if redis.call('EXISTS', breaker_at(best)) == 1 then redis.call('HSET', breaker_at(best), 'probe', lease) end
end
local closed = 0
if counted then
  local use = account_id(best) .. ' ' .. reservation
  redis.call('ZADD', minute_at(best), now, use)
  for n = 2, requested do redis.call('ZADD', minute_at(best), now, use .. ' ' .. n) end
  redis.call('HSET', tokens_at(best), use, prompt_tokens)
  redis.call('HINCRBY', tokens_at(best), 'total', prompt_tokens)
  redis.call('PEXPIRE', minute_at(best), 2 * minute)
  redis.call('PEXPIRE', tokens_at(best), 2 * minute)
  redis.call('HINCRBY', day_at(best), 'model:' .. model, requested)
  redis.call('HINCRBY', day_at(best), 'requests:' .. account_id(best), requested)
  redis.call('PEXPIRE', day_at(best), life)
end
if role == '' then redis.call('ZREM', closed_models, model, '') end
if counted and look(best, 1, 1).why then closed = shut() end
return {'ok', best, role, closed}
