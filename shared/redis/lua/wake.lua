-- What scripts that put jobs into queues share: one worker with a free slot is woken, not all of them.

-- Who has a slot free says so when it claims (claim.lua). One that is woken is taken off the list until it claims again,
-- so that the next job wakes another; one that nobody hears for is passed over. Should the one that is woken die before
-- it claims, the others find the job at their next poll (`POLL_S`).
local function wake(queue_key)
  local idle = idle_key(queue_key)
  local worker = redis.call('SPOP', idle)
  while worker and redis.call('PUBLISH', wake_channel(worker), queue_key) == 0 do worker = redis.call('SPOP', idle) end
end
