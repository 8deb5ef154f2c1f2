-- The object of a storm was deleted by hand: the storm is over, and what the object showed is held.
-- KEYS  h, u, r, n, q, l, c (held, current), t (what this process merged first since the last acknowledgement), x
-- ARGV  epoch, dirty mark, when l expires, when c does (unix seconds), the alerts shown at this process' own last acknowledgement
-- ->    0: all of it was shown; 1: something is let go. If t may not be all that was not shown, nothing is held: the receipts
--       of the Signals say what is handled, and they are read again.
-- For example: u = {1,2,3}, a = 2, t = {3} -> 1; c = {1,2}.
-- Forgotten already, perhaps by this very call, whose answer was lost: nobody can say any more what was let go.
if open_epoch(KEYS[1]) ~= ARGV[1] then return 1 end
local shown = tonumber(call('ZSCORE', KEYS[1], 'a') or 0)
local unshown = call('SCARD', KEYS[2]) - shown
if unshown == 0 then call('DEL', KEYS[8]) end
-- The last acknowledgement was this process' own, and since then u grew by what it merged itself: then t is what was not shown.
if unshown == 0 or shown == tonumber(ARGV[5]) and unshown == call('SINTERCARD', 2, KEYS[2], KEYS[8]) then
  call('SUNIONSTORE', KEYS[2], KEYS[2], KEYS[3])
  call('SDIFFSTORE', KEYS[2], KEYS[2], KEYS[8])
  call('SUNIONSTORE', KEYS[7], KEYS[7], KEYS[2])
  call('EXPIREAT', KEYS[7], ARGV[4])
else
  unshown = 1
end
call('ZADD', KEYS[6], 'GT', ARGV[1], 'm')
call('EXPIREAT', KEYS[6], ARGV[3])
call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[8], KEYS[9])
call('ZREM', KEYS[5], ARGV[2])
return unshown > 0 and 1 or 0
