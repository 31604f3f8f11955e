-- Notes that an account failed an attempt: rejects it for a while, cools it down, or opens its circuit breaker.
--
-- KEYS  1 account  2 breaker  3 quota  4 window
-- ARGV  1 rejected | throttled | failed  2 '' | 'probe' | 'forced'  3 the error as JSON
--       4 fingerprint of the credential  5 period of a spent quota: minute, day, unknown
--       6 ms to cool down for; 0: not known  7 attempts that went well and were not reported yet
--       8... names and values of limits that the upstream named
-- returns the ms until which the account is out of use for the model, 0 where it is not
local reject_cool, cool_least, cool_most = 600000, 5000, 300000
local failures, window, open_least, open_most = 5, 30000, 5000, 60000
local hour, day, bucket = 3600000, 86400000, 5000
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local account, breaker, quota, window_counts = unpack(KEYS)
local kind, role, problem, fingerprint, period = unpack(ARGV, 1, 5)
local cool_ms, went_well = tonumber(ARGV[6]), ARGV[7]
local limits = {unpack(ARGV, 8)}  -- names and values in turn

if kind == 'rejected' then
  local known = redis.call('HMGET', account, 'rejected', 'since', 'until')
  local since, ends = now, now + reject_cool
  if known[1] == fingerprint then
    since = known[2]
    -- As long as it cools down, another refusal says nothing new.
    if (tonumber(known[3]) or 0) > now then ends = tonumber(known[3]) end
  end
  redis.call('HSET', account, 'rejected', fingerprint, 'since', since, 'until', ends, 'error', problem, 'probe', 0)
  redis.call('PEXPIRE', account, day)
  redis.call('HDEL', breaker, 'probe')
  return ends
end
if role ~= '' then redis.call('HDEL', account, 'probe') end

if kind == 'throttled' then
  -- Whoever is throttled was let in.
  if role ~= '' then redis.call('HDEL', account, 'rejected', 'since', 'until', 'error') end
  if role ~= '' then redis.call('HDEL', breaker, 'probe') end
  local known = redis.call('HMGET', quota, 'cool', 'step')
  local ends, step = tonumber(known[1]) or 0, tonumber(known[2]) or 0
  if now - ends > 2 * cool_most then step = 0 end
  local wait = cool_ms
  if wait == 0 then
    -- Attempts that ran beside each other are one sign, not many.
    if ends > now then return ends end
    wait = math.min(cool_most, cool_least * 2 ^ step)
    redis.call('HSET', quota, 'step', math.min(step + 1, 10))
  end
  if now + wait >= ends then
    redis.call('HSET', quota, 'cool', now + wait, 'period', period, 'error', problem)
    ends = now + wait
  end
  for n = 1, #limits, 2 do
    local limit = redis.call('HGET', quota, limits[n])
    local learned = (tonumber(redis.call('HGET', quota, 'learned')) or 0) > now
    if not learned then redis.call('HDEL', quota, 'rpm', 'tpm', 'rpd') end
    if not (learned and limit) or tonumber(limits[n + 1]) < tonumber(limit) then
      redis.call('HSET', quota, limits[n], limits[n + 1])
    end
    redis.call('HSET', quota, 'learned', now + day)
  end
  redis.call('PEXPIRE', quota, 2 * day)
  return ends
end

if redis.call('EXISTS', breaker) == 1 then
  redis.call('HSET', breaker, 'error', problem)
  if role ~= 'probe' then return tonumber(redis.call('HGET', breaker, 'until')) end
  local step = (tonumber(redis.call('HGET', breaker, 'step')) or 0) + 1
  local ends = now + math.min(open_most, open_least * 2 ^ step)
  redis.call('HSET', breaker, 'until', ends, 'step', math.min(step, 10), 'probe', 0)
  redis.call('PEXPIRE', breaker, ends - now + reject_cool)
  return ends
end
local current = math.floor(now / bucket)
redis.call('HINCRBY', window_counts, 'bad:' .. current, 1)
redis.call('HINCRBY', window_counts, 'good:' .. current, went_well)
redis.call('PEXPIRE', window_counts, window + bucket)
local bad, good, counts = 0, 0, redis.call('HGETALL', window_counts)
for n = 1, #counts, 2 do
  local name, number = string.match(counts[n], '^(%a+):(%d+)$')
  if tonumber(number) <= current - window / bucket then
    redis.call('HDEL', window_counts, counts[n])
  elseif name == 'bad' then
    bad = bad + counts[n + 1]
  else
    good = good + counts[n + 1]
  end
end
if bad < failures or bad < good then return 0 end
redis.call('DEL', window_counts)
redis.call('HSET', breaker, 'until', now + open_least, 'step', 0, 'probe', 0, 'since', now, 'error', problem)
redis.call('PEXPIRE', breaker, open_least + reject_cool)
return now + open_least
