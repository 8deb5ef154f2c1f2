-- The open storm takes over what fires on since the storms before it.
-- KEYS  h, a, j, q
-- ARGV  epoch, dirty mark, now (milliseconds)
-- ->    how many alerts that are, and how many fire in the storm then; {0, 0} when it is not open
-- For example: a = {1 left, 2 over} -> {1, 1}; a = {1 firing, 2 over}, and q has a mark of this storm.
if open_epoch(KEYS[1]) ~= ARGV[1] then return { 0, 0 } end
local head = fold(KEYS[2], KEYS[3])
local left = head[3]
if left == 0 then return { 0, head[2] } end
head = rewrite(KEYS[2], function(_, standing, at) return standing == LEFT and FIRING_RESOLVABLE or standing, at end)
head[4] = head[4] + left
call('SETRANGE', KEYS[2], 0, packed_head(head))
call('PERSIST', KEYS[1])
call('PERSIST', KEYS[2])
call('ZADD', KEYS[4], 'NX', ARGV[3], ARGV[2])
return { left, head[2] }
