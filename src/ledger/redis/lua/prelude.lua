#!lua flags=allow-oom
-- Begins every script. `allow-oom`: each of them frees memory or makes it possible to free some; what grows is bounded by its arguments.
local call = redis.call

-- The epoch of the open storm of a key, as text; false when none is open.
local function open_epoch(h) return call('ZSCORE', h, 'e') end

-- A text that changes with each merge into a storm, and with each acknowledgement of one.
local function mark_of(h, u, r)
  local s = call('ZMSCORE', h, 'l', 'f', 's', 'r', 'p')
  for i = 1, 5 do s[i] = s[i] or '-' end
  return call('SCARD', u) .. ' ' .. call('SCARD', r) .. ' ' .. table.concat(s, ' ')
end

