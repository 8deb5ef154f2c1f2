-- The namespace of a key was made again: a storm that was opened before is over, and what was reported before, and is in no storm, is forgotten.
-- KEYS  h, a, j, x, n, q, l
-- ARGV  epoch of that storm, or '' when none is known to be open; its dirty mark; when the namespace was made (seconds, and microseconds); in how many
--       seconds a and l expire
-- ->    1; 0: another storm is open, and nothing was done
-- For example: h = {e=1764000300, …}, ARGV 1764000300 <mark> 1764009000 1764009000000000 50400 -> 1; h is gone, l has m=1764000300.
local epoch = open_epoch(KEYS[1]) or ''
if epoch ~= ARGV[1] then return 0 end
if epoch ~= '' then
  if tonumber(epoch) >= tonumber(ARGV[3]) then return 0 end
  call('UNLINK', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
  call('ZREM', KEYS[6], ARGV[2])
  call('ZADD', KEYS[7], 'GT', epoch, 'm')
  call('EXPIRE', KEYS[7], ARGV[5])
end
local made = tonumber(ARGV[4])
rewrite(KEYS[2], function(_, standing, at) if not in_storm(standing) and at >= made then return standing, at end end)
call('EXPIRE', KEYS[2], ARGV[5])
return 1
