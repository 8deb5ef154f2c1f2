-- Deletes the keys of a storm that is not open (a stray merge wrote them), or of this very storm when its counter is named.
-- KEYS  h, a, j, x, n, q
-- ARGV  epoch, dirty mark, p of the storm to drop, or '' to delete strays only; in how many seconds a expires, once no storm is open
-- ->    1: deleted; 0: the storm is open and not the one that is meant
-- For example: h is missing, j has a report -> EVALSHA … 1764000300 <mark> '' 50400 -> 1, and j and the mark are gone.
local epoch = open_epoch(KEYS[1])
if epoch == ARGV[1] and call('ZSCORE', KEYS[1], 'p') ~= ARGV[3] then return 0 end
-- A mark that the caller does not know may be another replica's, of a storm that is open: what is there is alive.
if epoch and epoch ~= ARGV[1] and call('ZSCORE', KEYS[1], string.sub(ARGV[2], 10)) then return 0 end
if epoch == ARGV[1] or not epoch then
  if epoch then
    -- What the storm took in is taken in again.
    rewrite(KEYS[2], function(_, standing, at) if not in_storm(standing) then return standing, at end end)
    call('EXPIRE', KEYS[2], ARGV[4])
  end
  call('UNLINK', KEYS[1])
else
  -- Another storm of this key is open: its registers stay, also where, once in a long while, they have the same names.
  local tag = tag_of(ARGV[2])
  local same = false
  for _, member in ipairs(call('ZRANGE', KEYS[1], 0, -1)) do
    same = same or #member == 9 and string.sub(member, 1, #tag) == tag
  end
  if not same then call('ZREM', KEYS[1], 'l' .. tag, 'f' .. tag, 's' .. tag, 'r' .. tag, 'i' .. tag) end
end
call('UNLINK', KEYS[3], KEYS[4], KEYS[5])
call('ZREM', KEYS[6], ARGV[2])
return 1
