-- The object of a storm was deleted by hand: the storm is over, and what the object showed is handled.
-- KEYS  h, a, j, n, q, l, x
-- ARGV  epoch, dirty mark, when l and a expire (unix seconds), the alerts shown at this process' own last acknowledgement, the digests (8 bytes each) of what
--       this process merged first since then, how many alerts it knows the storm to have, the microsecond of now, the microsecond before which what is in no storm is forgotten
-- ->    0: all of it was shown; 1: something is let go. If those digests may not be all that was not shown, nothing counts as handled: the receipts
--       of the Signals say what is, and they are read again.
-- For example: three alerts, two shown, one digest -> 1; the other two are handled.
-- Forgotten already, perhaps by this very call, whose answer was lost: nobody can say any more what was let go.
if open_epoch(KEYS[1]) ~= ARGV[1] then return 1 end
local shown = tonumber(call('ZSCORE', KEYS[1], 'a') or 0)
local all = fold(KEYS[2], KEYS[3])[1]
local unshown = all - shown
local fresh, ours = {}, 0
for from = 1, #ARGV[5], 8 do fresh[string.sub(ARGV[5], from, from + 7)] = true end
rewrite(KEYS[2], function(digest, standing, at)
  if fresh[digest] and in_storm(standing) then ours = ours + 1 end
  return standing, at
end)
-- The last acknowledgement was this process' own, and since then its alerts grew by what it merged itself: then those are what was not shown. Not if
-- another process has told of alerts that this one does not know.
local known = unshown == 0 or shown == tonumber(ARGV[4]) and all == tonumber(ARGV[6]) and unshown == ours
rewrite(KEYS[2], function(digest, standing, at)
  if not in_storm(standing) or known and not (unshown > 0 and fresh[digest]) then return standing, at end
end)
end_storm(KEYS[2], 'H', tonumber(ARGV[7]), tonumber(ARGV[8]))
call('EXPIREAT', KEYS[2], ARGV[3])
call('ZADD', KEYS[6], 'GT', ARGV[1], 'm')
call('EXPIREAT', KEYS[6], ARGV[3])
call('UNLINK', KEYS[1], KEYS[3], KEYS[4], KEYS[7])
call('ZREM', KEYS[5], ARGV[2])
return (not known or unshown > 0) and 1 or 0
