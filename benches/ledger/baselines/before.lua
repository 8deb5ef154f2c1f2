-- The original design before its optimisation: the whole object of a storm is one JSON value, read, changed and written by each merge.
-- Frozen: it is what the ledger is measured against, not a part of it. Not idempotent; the last writer's `lastSeen` wins.
-- KEYS  the storm
-- ARGV  time to live (ms), the object with its first occurrence (sent each time: the client cannot know whether the key exists),
--       when it was seen (RFC 3339), the resource as JSON
-- ->    the object as it is now
-- For example: alertCount 15 and 15 resources -> EVALSHA … 3600000 {…} 2026-11-23T10:00:15Z {"kind":"Pod",…} -> alertCount 16 and 16 resources.
local current = redis.call('GET', KEYS[1])
if not current then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
  return ARGV[2]
end
local object = cjson.decode(current)
local resource = cjson.decode(ARGV[4])
local storm = object.spec.stormAggregation
storm.alertCount = storm.alertCount + 1
storm.lastSeen = ARGV[3]
local found = false
for _, known in ipairs(storm.affectedResources) do
  if known.kind == resource.kind and known.name == resource.name and known.namespace == resource.namespace then
    found = true
    break
  end
end
if not found then table.insert(storm.affectedResources, resource) end
local text = cjson.encode(object)
redis.call('SET', KEYS[1], text, 'PX', ARGV[1])
return text
