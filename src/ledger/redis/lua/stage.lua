-- Takes the journal into the alerts, counts the resources of names that are not published yet, and reads the storm. Safe to repeat.
-- KEYS  h, a, j, x, n, q
-- ARGV  epoch, dirty mark, digests (8 bytes each) of the names just read from n
-- ->    nil when this storm is not open, else {mark, alerts, firing, resources, names in n, -first, last, severity, resolvable, incomplete, p, shown, dirty since}
-- For example: a = {1 firing, 2 ended}, n = [Pod/a], one digest -> {"2 1 3 78 1764000009 -1764000000 2 - -", 2, 1, 1, 1, "-1764000000", …}
if open_epoch(KEYS[1]) ~= ARGV[1] then return false end
local head = fold(KEYS[2], KEYS[3])
-- Something joined it: it lives until it is closed.
if head[1] > 0 then
  call('PERSIST', KEYS[1])
  call('PERSIST', KEYS[2])
end
-- `x` is a text of digests, eight bytes each: a third of what a set takes beyond the intset limit.
local length = call('STRLEN', KEYS[4])
if #ARGV[3] > 0 then
  local resources = call('GET', KEYS[4]) or ''
  local place_of, new, added = finder(resources, 0, 8, ARGV[3], 8), {}, {}
  for from = 1, #ARGV[3], 8 do
    local digest = string.sub(ARGV[3], from, from + 7)
    if not added[digest] and not place_of(digest) then
      added[digest] = true
      new[#new + 1] = digest
    end
  end
  if #new > 0 then
    length = length + 8 * #new
    call('SET', KEYS[4], resources .. table.concat(new))
  end
end
local tag = tag_of(ARGV[2])
local s = call('ZMSCORE', KEYS[1], 'f' .. tag, 'l' .. tag, 's' .. tag, 'r' .. tag, 'i' .. tag, 'p', 'a')
return {
  mark_of(KEYS[1], head, KEYS[5], tag), head[1], head[2], length / 8,
  call('LLEN', KEYS[5]), s[1], s[2], s[3], s[4], s[5], s[6], s[7], call('ZSCORE', KEYS[6], ARGV[2]),
}
