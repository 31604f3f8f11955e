-- What scripts that put jobs into queues or take them out share: how many bytes of large bodies wait, in each queue and
-- of each owner. A hash: of each such job its size, owner and queue; the sums of queues ('q:') and owners ('k:').
local LARGE = 65536  -- placement.LARGE_BYTES

local function bytes_of(name) return tonumber(redis.call('HGET', bytes_key('waiting'), name) or 0) end

local function add_bytes(name, size)
  if redis.call('HINCRBY', bytes_key('waiting'), name, size) <= 0 then redis.call('HDEL', bytes_key('waiting'), name) end
end

local function reserve_bytes(id, size, owner, queue_key)
  redis.call('HSET', bytes_key('waiting'), id, size .. ' ' .. owner .. ' ' .. queue_key)
  add_bytes('q:' .. queue_key, size)
  add_bytes('k:' .. owner, size)
end

local function release_bytes(id)
  local entry = redis.call('HGET', bytes_key('waiting'), id)
  if not entry then return end
  local size, owner, queue_key = string.match(entry, '^(%d+) (%S+) (.*)$')
  redis.call('HDEL', bytes_key('waiting'), id)
  add_bytes('q:' .. queue_key, '-' .. size)
  add_bytes('k:' .. owner, '-' .. size)
end

-- A job waits for nobody if neither its JSON is there nor its body on the way.
local function is_gone(id) return redis.call('EXISTS', job_key(id), arriving_key(id)) == 0 end
