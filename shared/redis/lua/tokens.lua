-- The tokens a minute of an owner, for scripts that reserve and settle them: a bucket of one minute's tokens that fills
-- evenly. It is one number, the microsecond at which it will be full again.
--
-- A token weighs 60 s / limit. What was reserved is returned by its own weight, so that a request that used what it
-- reserved settles to nothing, and a changed limit does not matter.
local MINUTE_US = 60000000
local KEPT_MS = 60000

local function weight_us(tokens, limit) return math.ceil(tokens * MINUTE_US / limit) end

local function debt_us(bucket, now_us) return math.max(tonumber(redis.call('GET', bucket) or 0) - now_us, 0) end

-- Returns the microseconds until the bucket is full, once so much more was taken out; what was reserved for longer than
-- it takes to fill is back already.
local function take_us(bucket, us, now_us)
  local until_full_us = math.max(debt_us(bucket, now_us) + us, 0)
  if until_full_us == 0 then
    redis.call('DEL', bucket)
  else
    redis.call('SET', bucket, string.format('%.0f', now_us + until_full_us), 'PX',
      string.format('%.0f', until_full_us / 1000 + KEPT_MS))
  end
  return until_full_us
end

local function tokens_left(until_full_us, limit)
  return math.max(math.floor((MINUTE_US - until_full_us) * limit / MINUTE_US), 0)
end
