#!lua name=larder
-- One list in one round trip, on one server:
--   FCALL_RO rec_get 1 rec:for-you:live ID [K [SEGMENT [CATEGORY]]]
-- answers release, arm ('' without a split), source, format and list; nil where nothing is live.
-- Redis 6.2 has no functions: without this first and the last line, and with
-- `return rec_get(KEYS, ARGV)` instead, it is a script for SCRIPT LOAD.

-- The decimal digits of an unsigned number of 8 bytes; Lua's doubles hold 53 bits of it.
local function digits(low, high)
  local rest = high * 967296 + low
  local front = high * 4294 + math.floor(rest / 1000000)
  if front == 0 then return string.format('%.0f', rest % 1000000) end
  return string.format('%.0f%06.0f', front, rest % 1000000)
end

-- The ids of a list, and what it takes to write some of its entries again.
local function open(format, list)
  local ids, entries, scores = {}, {}, {}
  if string.sub(format, 1, 4) == 'json' then
    entries = cjson.decode(list)
    for n, entry in ipairs(entries) do ids[n] = format == 'json' and entry or entry[1] end
    return ids, entries
  end
  local flags, count = struct.unpack('<BH', list, 2)
  local place = 5
  for n = 1, count do
    local start = place
    if flags % 4 == 2 then
      ids[n], place = struct.unpack('<Hc0', list, place)
    else
      local size = flags % 4 == 0 and 4 or 8
      local low = struct.unpack('<I4', list, place)
      ids[n] = digits(low, size == 8 and struct.unpack('<I4', list, place + 4) or 0)
      place = place + size
    end
    entries[n] = string.sub(list, start, place - 1)
  end
  for n = 1, flags >= 4 and count or 0 do
    scores[n] = string.sub(list, place + 2 * n - 2, place + 2 * n - 1)
  end
  return ids, entries, scores
end

local function close(list, entries, scores)
  if not scores then return #entries == 0 and '[]' or cjson.encode(entries) end
  local head = string.sub(list, 1, 2) .. struct.pack('<H', #entries)
  return head .. table.concat(entries) .. table.concat(scores)
end

-- The first k that are not hidden.
local function shown(format, list, k, hidden)
  local ids, entries, scores = open(format, list)
  local gone = {}
  for first = 1, #ids, 1000 do
    local part = { unpack(ids, first, math.min(first + 999, #ids)) }
    for n, is in ipairs(redis.call('SMISMEMBER', hidden, unpack(part))) do
      gone[first + n - 1] = is == 1
    end
  end
  local kept, kept_scores = {}, scores and {}
  for n = 1, #ids do
    if #kept < k and not gone[n] then
      kept[#kept + 1] = entries[n]
      if scores then kept_scores[#kept] = scores[n] end
    end
  end
  return close(list, kept, kept_scores)
end

-- The first 32 bits of the SHA-1.
local function hash(text) return tonumber(string.sub(redis.sha1hex(text), 1, 8), 16) end

-- The release and arm of an id in a split such as `salt A=42:90 B=live:10`.
local function share(split, id, live)
  local salt, arms = string.match(split, '^(%S+) (.*)$')
  local total = 0
  for part in string.gmatch(arms, ':(%d+)') do total = total + part end
  local place = math.floor(hash(salt .. ':' .. id) * total / 4294967296)
  for name, release, part in string.gmatch(arms, '(%S+)=(%w+):(%d+)') do
    if place < tonumber(part) then return release == 'live' and live or release, name end
    place = place - part
  end
end

local function rec_get(keys, args)
  local live = redis.call('GET', keys[1])
  if not live then return false end
  local feed = string.match(keys[1], '^(.*:)live$')
  local braced = '{' .. keys[1] .. '}:'
  local id, k, segment, category = args[1], tonumber(args[2] or ''), args[3] or '', args[4] or ''
  local function meta(release)
    return redis.call('HMGET', feed .. release .. ':_meta', 'format', 'k', 'spare', 'buckets', 'lists')
  end

  local release, arm = live, ''
  local split = redis.call('HGET', braced .. 'head', 'split')
  if split then release, arm = share(split, id, live) end
  local about = meta(release)
  if not about[1] and release ~= live then release, arm, about = live, '', meta(live) end
  if not about[1] then return redis.error_reply('GONE the lists of release ' .. release) end

  local tries = { { 'list', (string.sub(id, 1, 1) == '_' and '_' or '') .. id } }
  if segment ~= '' then tries[#tries + 1] = { 'segment', '_segment:' .. segment } end
  if category ~= '' then tries[#tries + 1] = { 'category', '_category:' .. category } end
  tries[#tries + 1] = { 'default', '_default' }
  local hides = redis.call('EXISTS', braced .. 'hidden') == 1
  for _, try in ipairs(tries) do
    local start, list = feed .. (about[5] or release) .. ':', nil
    if try[1] == 'list' and about[4] then
      list = redis.call('HGET', start .. '_b:' .. math.floor(hash(id) * about[4] / 4294967296), id)
    else
      list = redis.call('GET', start .. try[2])
    end
    if list then
      if hides or k or about[3] ~= '0' then
        list = shown(about[1], list, k or tonumber(about[2]), braced .. 'hidden')
      end
      return { release, arm, try[1], about[1], list }
    end
  end
  return redis.error_reply('GONE the lists of release ' .. release)
end

redis.register_function{ function_name = 'rec_get', callback = rec_get, flags = { 'no-writes' } }
