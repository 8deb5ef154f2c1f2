-- Which of these alerts fire in the open storm.
-- KEYS  h, a
-- ARGV  epoch, digests (8 bytes each)
-- ->    for each of them 1 if it fires, else 0, as one text; an empty text when this storm is not open
-- For example: a = {1 firing, 2 ended}, the digests of 1, 2 and 3 -> "100"
if open_epoch(KEYS[1]) ~= ARGV[1] then return '' end
local raw, says = call('GET', KEYS[2]) or '', {}
local place_of = finder(raw, HEAD, RECORD, ARGV[2], 8)
for from = 1, #ARGV[2], 8 do
  local place = place_of(string.sub(ARGV[2], from, from + 7))
  local standing = place and string.byte(raw, place + 8)
  says[#says + 1] = (standing == FIRING or standing == FIRING_RESOLVABLE) and '1' or '0'
end
return table.concat(says)
