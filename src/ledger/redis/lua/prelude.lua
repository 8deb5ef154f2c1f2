-- Begins every script, behind a line with its flags (`scripts.rs`).
local call = redis.call

-- The epoch of the open storm of a key, as text; false when none is open.
local function open_epoch(h) return call('ZSCORE', h, 'e') end

-- The tag of a storm's registers, from its dirty mark: a stray merge, meant for another storm of the key, raises registers of its own.
local function tag_of(dirty) return string.sub(dirty, 10, 12) end
