-- The namespace of a key was made again: a storm that was opened before is over, and what is known of alerts is forgotten.
-- KEYS  h, a, j, x, n, q, l
-- ARGV  epoch of that storm, or '' when none is known to be open; its dirty mark; in how many seconds l expires
-- ->    1; 0: another storm is open, and nothing was done
-- For example: h = {e=1764000300, …}, ARGV 1764000300 <mark> 50400 -> 1; h and a are gone, l has m=1764000300.
local epoch = open_epoch(KEYS[1]) or ''
if epoch ~= ARGV[1] then return 0 end
if epoch ~= '' then
  call('UNLINK', KEYS[1], KEYS[3], KEYS[4], KEYS[5])
  call('ZREM', KEYS[6], ARGV[2])
  call('ZADD', KEYS[7], 'GT', epoch, 'm')
  call('EXPIRE', KEYS[7], ARGV[3])
end
call('UNLINK', KEYS[2])
return 1
