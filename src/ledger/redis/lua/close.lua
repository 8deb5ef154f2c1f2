-- Closes a storm if it is still as in the snapshot: its alerts stand as the end says from now on, and its final facts are kept until it is settled.
-- KEYS  h, a, j, n, q, l, f, x
-- ARGV  epoch, dirty mark, mark of the snapshot, final facts, when f, l and a expire (unix seconds), 'C' (closed) or 'H' (handled by a person), the
--       microsecond of the end, the microsecond before which what is in no storm is forgotten
-- ->    how many alerts fire on and are left to the next storm; -1: something changed since, or the storm is not open
-- For example: a = {1 firing, 2 ended}, of a source that reports ends -> 1; a = {1 left, 2 over}, l has m=1764000300, f has the facts.
if open_epoch(KEYS[1]) ~= ARGV[1] then return -1 end
if mark_of(KEYS[1], fold(KEYS[2], KEYS[3]), KEYS[4], tag_of(ARGV[2])) ~= ARGV[3] then return -1 end
call('SET', KEYS[7], ARGV[4], 'EXAT', ARGV[5])
local head = end_storm(KEYS[2], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]))
call('EXPIREAT', KEYS[2], ARGV[5])
call('ZADD', KEYS[6], 'GT', ARGV[1], 'm')
call('EXPIREAT', KEYS[6], ARGV[5])
call('UNLINK', KEYS[1], KEYS[3], KEYS[4], KEYS[8])
call('ZREM', KEYS[5], ARGV[2])
return head[3]
