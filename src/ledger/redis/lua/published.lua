-- The object of a storm exists, whatever it shows.
-- KEYS  h, a
-- ARGV  epoch
-- ->    nil
-- For example: h = {e=1764000300, p=77} -> h = {a=0, p=77, e=1764000300}.
if open_epoch(KEYS[1]) ~= ARGV[1] then return end
call('ZADD', KEYS[1], 'NX', 0, 'a')
call('PERSIST', KEYS[1])
call('PERSIST', KEYS[2])
