-- A snapshot is in the cluster: lets its names go, and clears the dirty mark if nothing came since.
-- KEYS  h, a, j, n, q
-- ARGV  epoch, dirty mark, mark of the snapshot, its p, how many names it had, its alerts
-- ->    1: nothing is left to publish (or the storm is not open); 0: something is
-- For example: after the example of `stage`, with … "2 1 …" 77 1 2 -> 1; n is gone, p = 78, a of h = 2, and q has no mark of this storm.
if open_epoch(KEYS[1]) ~= ARGV[1] then return 1 end
local same = mark_of(KEYS[1], fold(KEYS[2], KEYS[3]), KEYS[4], tag_of(ARGV[2])) == ARGV[3]
local taken = tonumber(ARGV[5])
-- Another p: another publisher was first, or the storm was dropped and taken in again: its names are not those of this snapshot.
if taken > 0 and call('ZSCORE', KEYS[1], 'p') == ARGV[4] then
  call('LTRIM', KEYS[4], taken, -1)
  call('ZINCRBY', KEYS[1], taken, 'p')
end
call('ZADD', KEYS[1], 'GT', ARGV[6], 'a')
if same then call('ZREM', KEYS[5], ARGV[2]) end
return same and 1 or 0
