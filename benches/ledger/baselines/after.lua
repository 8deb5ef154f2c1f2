-- The original design after its optimisation: five fields of a storm are one JSON value, read, changed and written by each merge.
-- Frozen: it is what the ledger is measured against, not a part of it. Not idempotent; the last writer's `lastSeen` wins.
-- KEYS  the storm
-- ARGV  time to live (ms), the value with its first occurrence, when it was seen (RFC 3339), the resource
-- ->    the value as it is now
-- For example: alertCount 15 and 15 resources -> EVALSHA … 3600000 {…} 2026-11-23T10:00:15Z Pod/a -> alertCount 16 and 16 resources.
local current = redis.call('GET', KEYS[1])
if not current then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
  return ARGV[2]
end
local storm = cjson.decode(current)
storm.alertCount = storm.alertCount + 1
storm.lastSeen = ARGV[3]
local found = false
for _, known in ipairs(storm.affectedResources) do
  if known == ARGV[4] then
    found = true
    break
  end
end
if not found then table.insert(storm.affectedResources, ARGV[4]) end
local text = cjson.encode(storm)
redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
return text
