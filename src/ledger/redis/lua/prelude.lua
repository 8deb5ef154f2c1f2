#!lua flags=allow-oom
-- Begins every script. `allow-oom`: each of them frees memory or makes it possible to free some; what grows is bounded by its arguments.
local call = redis.call

-- The epoch of the open storm of a key, as text; false when none is open.
local function open_epoch(h) return call('ZSCORE', h, 'e') end

-- The tag of a storm's registers, from its dirty mark: a stray merge, meant for another storm of the key, raises registers of its own.
local function tag_of(dirty) return string.sub(dirty, 10, 12) end

-- A text that changes with each merge that tells a storm something new, and with nothing else. Sets and registers only grow; `p` grows
-- as names leave n, so their sum counts the names that ever came, from a start of the storm's own.
local function mark_of(h, u, r, n, tag)
  local s = call('ZMSCORE', h, 'l' .. tag, 'f' .. tag, 's' .. tag, 'r' .. tag, 'i' .. tag)
  for i = 1, 5 do s[i] = s[i] or '-' end
  local names = (call('ZSCORE', h, 'p') or 0) + call('LLEN', n)
  return call('SCARD', u) .. ' ' .. call('SCARD', r) .. ' ' .. names .. ' ' .. table.concat(s, ' ')
end

