-- Closes a storm if it is still as in the snapshot: its occurrences are held from now on, and its final facts kept until it is settled.
-- KEYS  h, u, r, n, q, l, c (held, current), f, x
-- ARGV  epoch, dirty mark, mark of the snapshot, final facts, when f and l expire, when c does (unix seconds)
-- ->    1: closed; 0: something changed since, or the storm is not open
-- For example: u = {1,2}, r = {2,3} -> 1; c = {1,2,3}, l has m=1764000300, f has the facts, and every other key of the storm is gone.
if open_epoch(KEYS[1]) ~= ARGV[1] then return 0 end
if mark_of(KEYS[1], KEYS[2], KEYS[3], KEYS[4], tag_of(ARGV[2])) ~= ARGV[3] then return 0 end
call('SET', KEYS[8], ARGV[4], 'EXAT', ARGV[5])
call('SUNIONSTORE', KEYS[7], KEYS[7], KEYS[2], KEYS[3])
call('EXPIREAT', KEYS[7], ARGV[6])
call('ZADD', KEYS[6], 'GT', ARGV[1], 'm')
call('EXPIREAT', KEYS[6], ARGV[5])
call('UNLINK', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[9])
call('ZREM', KEYS[5], ARGV[2])
return 1
