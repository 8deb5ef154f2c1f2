-- Counts the resources of names that are not published yet, and reads the storm. Changes nothing that a merge writes: safe to repeat.
-- KEYS  h, u, r, x, n, q
-- ARGV  epoch, dirty mark, digest of each name just read from n (at most 1,000)
-- ->    nil when this storm is not open, else {mark, alerts, over, resources, names in n, -first, last, severity, resolvable, incomplete, p, shown, dirty since}
-- For example: u = {1,2}, r = {2}, n = [Pod/a], one digest -> {"2 1 78 1764000009 -1764000000 2 - -", 2, 1, 1, 1, "-1764000000", …}
if open_epoch(KEYS[1]) ~= ARGV[1] then return false end
-- Something joined it: it lives until it is closed.
if call('EXISTS', KEYS[2]) == 1 then
  call('PERSIST', KEYS[1])
  call('PERSIST', KEYS[3])
end
if #ARGV > 2 then call('SADD', KEYS[4], unpack(ARGV, 3)) end
local tag = tag_of(ARGV[2])
local s = call('ZMSCORE', KEYS[1], 'f' .. tag, 'l' .. tag, 's' .. tag, 'r' .. tag, 'i' .. tag, 'p', 'a')
return {
  mark_of(KEYS[1], KEYS[2], KEYS[3], KEYS[5], tag), call('SCARD', KEYS[2]), call('SINTERCARD', 2, KEYS[2], KEYS[3]), call('SCARD', KEYS[4]),
  call('LLEN', KEYS[5]), s[1], s[2], s[3], s[4], s[5], s[6], s[7], call('ZSCORE', KEYS[6], ARGV[2]),
}
