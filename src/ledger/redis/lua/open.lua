-- Opens a storm unless one of its key is open or its epoch is over.
-- KEYS  h, l, e (incarnation)
-- ARGV  epoch, incarnation, nonce: where the storm's counter `p` starts, so that a storm that is dropped and taken in again is another,
--       sid: what merges look for; when a storm that nothing ever joins expires (unix seconds): whoever opened it may have died, or found that
--       all of it is held
-- ->    the epoch that is open now; 0: closed already; -1: another incarnation
-- For example: h is missing, l has m=1764000000 -> EVALSHA … 1764000300 9f… 77 AbC 1764043500 -> 1764000300, and h is {e=1764000300, p=77, AbC=0}.
if call('GET', KEYS[3]) ~= ARGV[2] then return -1 end
local epoch = open_epoch(KEYS[1])
if epoch then return tonumber(epoch) end
local last = call('ZSCORE', KEYS[2], 'm')
if last and tonumber(last) >= tonumber(ARGV[1]) then return 0 end
-- Registers without an epoch are a stray's: what it merged will be merged again.
call('DEL', KEYS[1])
call('ZADD', KEYS[1], ARGV[1], 'e', ARGV[3], 'p', 0, ARGV[4])
call('EXPIREAT', KEYS[1], ARGV[5])
return tonumber(ARGV[1])
