-- Removes a part of what a ledger of another format holds, or one that was lost, and, when nothing of it is left, puts a new incarnation in the
-- place of its own. Only while that incarnation is still there, or still none: whoever was faster has begun, and what is here now is alive.
-- KEYS  e (incarnation), then what to remove (at most 1,000)
-- ARGV  the incarnation that is there, '' when none is, the one to put in its place, or '' when there is more to remove
-- ->    1: done; 0: another incarnation is there
-- For example: e = 9f…, EVALSHA … 2 {00}e {a1}hAbC 9f… '' -> 1, and {a1}hAbC is gone.
if (call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if #KEYS > 1 then call('UNLINK', unpack(KEYS, 2)) end
if ARGV[2] ~= '' then call('SET', KEYS[1], ARGV[2]) end
return 1
