-- The alerts of a key, `a`: a head of four numbers of 32 bits (in the open storm, of them firing, left by closed storms, changes), and a record of
-- sixteen bytes for each alert: its digest (8), where it stands (1), the microsecond of its latest report (7). The journal of a storm, `j`, has what merges
-- appended: digest (8), what was said (1), when (7). The rules are those of `stormfold_core::storm::alerts`, which the histories hold them to.
local HEAD, RECORD = 16, 16
local UNSEEN, OVER, ENDED, FIRING, FIRING_RESOLVABLE, LEFT, HANDLED = 0, 1, 2, 3, 4, 5, 6
local RESOLVED, SAYS_FIRING, SAYS_FIRING_RESOLVABLE, HELD_OVER, HELD_HANDLED = 0, 1, 2, 3, 4
-- Up to so many reports are looked for one by one, each in one pass over `a` by `string.find`; more of them in one pass for all.
local FEW = 16

local function in_storm(standing) return standing == ENDED or standing == FIRING or standing == FIRING_RESOLVABLE end
local function fires(standing) return standing >= FIRING end

-- The end of `AlertRegister::held`: the register of an alert that is in no storm any more, as one report of it tells.
local function past(standing, last, new, new_at, at)
  if not standing then return new, new_at end
  if in_storm(standing) then return end
  if standing == UNSEEN and last >= new_at then return OVER, last end
  if (standing == LEFT or standing == HANDLED) and at < last then return end
  if new_at > last or new == OVER and new_at == last then return new, new_at end
end

-- `AlertRegister::joined`: the register after a report that the open storm takes in; nil: as before.
local function joined(standing, last, says, at)
  if says >= HELD_OVER then return past(standing, last, says == HELD_OVER and OVER or HANDLED, at, at) end
  if not standing then
    if says == RESOLVED then return UNSEEN, at end
    return says == SAYS_FIRING and FIRING or FIRING_RESOLVABLE, at
  end
  if says == RESOLVED then
    if standing >= FIRING then
      if at < last then return end
      return standing == HANDLED and OVER or ENDED, at
    end
    if at > last then return standing, at end
    return
  end
  local firing = says == SAYS_FIRING and FIRING or FIRING_RESOLVABLE
  if standing == FIRING or standing == FIRING_RESOLVABLE then
    if at < last then return end
    return at == last and math.max(firing, standing) or firing, at
  elseif standing == UNSEEN and at <= last then
    return ENDED, last
  elseif standing == LEFT then
    return at < last and FIRING_RESOLVABLE or firing, math.max(at, last)
  elseif at > last then
    return standing == HANDLED and HANDLED or firing, at
  end
end

-- `AlertRegister::noted`: the register after a report that no storm takes in.
local function noted(standing, last, says, at)
  if standing == LEFT and says < HELD_OVER then
    if says == RESOLVED then
      if at >= last then return OVER, at end
    elseif at > last then
      return LEFT, at
    end
    return
  end
  local begins = says == SAYS_FIRING or says == SAYS_FIRING_RESOLVABLE
  if begins and (not standing or standing == UNSEEN or standing == OVER) then return end
  return joined(standing, last, says, at)
end

-- `AlertRegister::after`: the register once its storm has been closed (kind 'C') or handled by a person (kind 'H').
local function after(standing, at, kind, closed)
  if standing == FIRING_RESOLVABLE then return kind == 'H' and HANDLED or LEFT, at end
  if standing == FIRING then return OVER, math.max(at, closed) end
  if standing == ENDED then return OVER, at end
  return standing, at
end

-- `AlertRegister::held`, for a storm that ended so.
local function held_by(kind, closed, of_open)
  return function(standing, last, says, at)
    if of_open and standing and in_storm(standing) then return after(standing, last, kind, closed) end
    if says >= HELD_OVER then return joined(standing, last, says, at) end
    if says == RESOLVED and (standing == FIRING or standing == FIRING_RESOLVABLE) and at >= last then return ENDED, at end
    local new, new_at = OVER, at
    if says ~= RESOLVED then new, new_at = after(says == SAYS_FIRING and FIRING or FIRING_RESOLVABLE, at, kind, closed) end
    return past(standing, last, new, new_at, at)
  end
end

local function head_of(raw)
  if raw == '' then return { 0, 0, 0, 0 } end
  return { struct.unpack('>I4I4I4I4', raw) }
end

local function packed_head(head) return struct.pack('>I4I4I4I4', head[1], head[2], head[3], head[4]) end

local function count(head, standing, by)
  if in_storm(standing) then
    head[1] = head[1] + by
    if standing ~= ENDED then head[2] = head[2] + by end
  elseif standing == LEFT then
    head[3] = head[3] + by
  end
end

-- Where `word` begins in `raw`, at a whole number of `size` behind `head`; nil when it is not there.
local function find(raw, head, size, word)
  local from = head + 1
  while true do
    local place = string.find(raw, word, from, true)
    if not place then return nil end
    if (place - head - 1) % size == 0 then return place end
    from = place + 1
  end
end

-- A function that says where a word of eight bytes begins in `raw`, for the words at each `step` of a text.
local function finder(raw, head, size, words, step)
  if #words <= FEW * step then return function(word) return find(raw, head, size, word) end end
  local unpack_number, wanted, places = struct.unpack, {}, {}
  -- By the number that its first six bytes are: to make a text of each word in `raw` takes ten times as long.
  for from = 1, #words, step do wanted[unpack_number('>I6', words, from)] = true end
  for place = head + 1, #raw, size do
    if wanted[unpack_number('>I6', raw, place)] then places[string.sub(raw, place, place + 7)] = place end
  end
  return function(word) return places[word] end
end

-- Applies reports to `a` by one of the rules above. The head after it, whose fourth number tells whether anything changed that a storm shows.
local function apply(a, reports, rule)
  -- Megabytes of a large storm are read only when something came.
  if #reports == 0 then return head_of(call('GETRANGE', a, 0, HEAD - 1)), 0 end
  local raw = call('GET', a) or ''
  local head = head_of(raw)
  local place_of = finder(raw, HEAD, RECORD, reports, RECORD)
  -- What changes, by slot: no table for each alert, of which there may be a hundred thousand.
  local slots, digests, places, standings, times, slot_count, added = {}, {}, {}, {}, {}, 0, 0
  local firing = 0
  for from = 1, #reports, RECORD do
    local digest = string.sub(reports, from, from + 7)
    local says, at = struct.unpack('>BI7', reports, from + 8)
    local slot = slots[digest]
    local place = not slot and place_of(digest) or nil
    local standing, last
    if slot then
      standing, last = standings[slot], times[slot]
    elseif place then
      standing, last = struct.unpack('>BI7', raw, place + 8)
    end
    local new, new_at = rule(standing, last, says, at)
    if (new or standing) == FIRING_RESOLVABLE and (new_at or last) == at then firing = firing + 1 end
    if new and (new ~= standing or new_at ~= last) then
      if standing then count(head, standing, -1) end
      count(head, new, 1)
      local joins = in_storm(new) and not (standing and in_storm(standing))
      -- What is handled, or held, is no part of the storm.
      local news_of_storm = joins or not standing or fires(standing) ~= fires(new)
      if news_of_storm and standing ~= HANDLED and says < HELD_OVER then head[4] = head[4] + 1 end
      if not slot then
        slot_count = slot_count + 1
        slot, slots[digest] = slot_count, slot_count
        digests[slot], places[slot] = digest, place or false
        if not place then added = added + 1 end
      end
      standings[slot], times[slot] = new, new_at
    end
  end
  if slot_count == 0 then return head, firing end
  if added > 0 then
    local parts = { raw == '' and packed_head(head) or raw }
    for slot = 1, slot_count do
      if not places[slot] then
        parts[#parts + 1] = struct.pack('>c8BI7', digests[slot], standings[slot], times[slot])
      end
    end
    -- Not APPEND, which takes twice the room.
    call('SET', a, table.concat(parts), 'KEEPTTL')
  end
  for slot = 1, slot_count do
    if places[slot] then
      call('SETRANGE', a, places[slot] + 7, struct.pack('>BI7', standings[slot], times[slot]))
    end
  end
  call('SETRANGE', a, 0, packed_head(head))
  return head, firing
end

-- Takes the reports of the journal into the alerts. Every script that looks at the open storm begins with it.
local function fold(a, j)
  local journal = call('GET', j) or ''
  local head = apply(a, journal, joined)
  if journal ~= '' then call('UNLINK', j) end
  return head
end

-- Rewrites each register; where `next` gives nil the alert is forgotten. The head after it.
local function rewrite(a, next)
  local raw = call('GET', a) or ''
  if raw == '' then return head_of(raw) end
  local head, parts = { 0, 0, 0, head_of(raw)[4] }, { '' }
  for place = HEAD + 1, #raw, RECORD do
    local digest = string.sub(raw, place, place + 7)
    local standing, at = next(digest, struct.unpack('>BI7', raw, place + 8))
    if standing then
      count(head, standing, 1)
      parts[#parts + 1] = digest .. struct.pack('>BI7', standing, at)
    end
  end
  if #parts == 1 then
    call('UNLINK', a)
  else
    parts[1] = packed_head(head)
    call('SET', a, table.concat(parts), 'KEEPTTL')
  end
  return head
end

-- The storm ends: what storms before it left and was reported before `earliest` is forgotten, the rest stands as the end says.
local function end_storm(a, kind, closed, earliest)
  return rewrite(a, function(_, standing, at)
    if in_storm(standing) then return after(standing, at, kind, closed) end
    if at >= earliest then return standing, at end
  end)
end

-- A text that changes with each merge that tells a storm something new, and with nothing else. Sets and registers only grow; `p` grows
-- as names leave n, so their sum counts the names that ever came, from a start of the storm's own.
local function mark_of(h, head, n, tag)
  local s = call('ZMSCORE', h, 'l' .. tag, 'f' .. tag, 's' .. tag, 'r' .. tag, 'i' .. tag)
  for i = 1, 5 do s[i] = s[i] or '-' end
  local names = (call('ZSCORE', h, 'p') or 0) + call('LLEN', n)
  return head[1] .. ' ' .. head[2] .. ' ' .. head[4] .. ' ' .. names .. ' ' .. table.concat(s, ' ')
end
