-- Remembers reports that storms which are over had taken in, or that no storm takes in.
-- KEYS  a, l, h
-- ARGV  the reports, as in a journal; 'C' or 'H' (how that storm ended) or 'N' (no storm takes them in); the microsecond of that end; its epoch, or ''; when a
--       and l expire (unix seconds); now (unix seconds)
-- ->    how many alerts of the key fire on and are in no storm, and how many of these reports are the latest of alerts that
--       fire in the open one
-- For example: one report that fires, of a source that reports ends, 'C' -> 1; a = {1 left}.
local of_open = ARGV[4] ~= '' and open_epoch(KEYS[3]) == ARGV[4]
local head, firing = apply(KEYS[1], ARGV[1], ARGV[2] == 'N' and noted or held_by(ARGV[2], tonumber(ARGV[3]), of_open))
-- With an open storm they live as long as it does.
if head[1] == 0 then call('EXPIREAT', KEYS[1], ARGV[5]) end
if ARGV[4] ~= '' then call('ZADD', KEYS[2], 'GT', ARGV[4], 'm') end
call('ZADD', KEYS[2], 'GT', ARGV[6], 't')
call('EXPIREAT', KEYS[2], ARGV[5])
return head[3] + firing
