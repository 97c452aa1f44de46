/*
 * Redis has one key for what is covered (a hash), and two for each channel: a stream, and a hash about it.
 *
 * The covered range goes from `start` to `end`: all messages of stored channels between these positions are in the streams,
 * apart from what was trimmed. A server extends it only if its own messages continue it: it knows the marker of `end`, and it
 * has all messages after `end`. So several servers may write the same messages, in any order; each is stored once, and a
 * message that no server has is never passed over. `marks` lists the markers in order, each with the number of messages
 * since the one before, and `h` instead of `-` where messages may be missing in between.
 *
 * The hash of a channel lives longer than its stream: `floor` is the newest message that was trimmed, `last` the newest of
 * all. A stream that has another number of entries than `n` was changed or removed by others, or has expired.
 * A channel without a hash had no message since `start`, because `start` advances to what was the end `keep` ms ago.
 */

const COMMON = `
local function split(id)
  local a, b = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(a), tonumber(string.sub(b, -13))
end
local function above(a, b)
  local am, an = split(a)
  local bm, bn = split(b)
  return am > bm or (am == bm and an > bn)
end
`;

/**
 * Appends messages and extends the covered range.
 * KEYS: the range. ARGV: a header in JSON, and all payloads. The keys of channels are in the header, which costs less.
 * Returns whether it was applied, the end of the range, and the number of messages that were new.
 */
export const APPEND = `${COMMON}
local h = cjson.decode(ARGV[1])
local range = redis.call('HMGET', KEYS[1], 'end', 'mark', 'tick')
local fin, mark = range[1], range[2]
local known = 0
for i, m in ipairs(h.marks) do
  if m[1] == mark then known = i end
end
local continues = fin and (known > 1 or (known == 1 and not above(h.from, fin)))
local added = {}
if not continues then
  if h.restart ~= (fin or '') or (fin and not above(h.from, fin)) then return {0, fin or '', 0} end
  redis.call('HSET', KEYS[1], 'start', h.from, 'why', 'gap')
  if known ~= 1 then
    local n = 0
    if fin then
      local _, counted = split(fin)
      n = counted
    end
    added[1] = string.format('%s %.0f h;', h.marks[1][1], n)
    known = 1
  end
  fin = h.from
elseif not above(h.to, fin) and not (h.refresh and h.to == fin) then
  return {1, fin, 0}
end

for i = known + 1, #h.marks do
  added[#added + 1] = string.format('%s %.0f -;', h.marks[i][1], h.marks[i][2])
end
if #added > 0 then
  local marks = (redis.call('HGET', KEYS[1], 'marks') or '') .. table.concat(added)
  if #marks > 32768 then marks = string.match(string.sub(marks, -24576), ';(.*)$') end
  redis.call('HSET', KEYS[1], 'marks', marks)
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local keep = h.keep * 1.25
local count = 0
local at = 1
local whole = h.from == fin
for _, ch in ipairs(h.channels) do
  local infoKey, key = ch.key .. ':i', ch.key .. ':h'
  local n, bytes, floor, last
  local renewed = 0
  for _, e in ipairs(ch.entries) do
    local id = e[1]
    if whole or above(id, fin) then
      if not n then
        local info = redis.call('HMGET', infoKey, 'n', 'bytes', 'floor', 'last', 'renewed')
        n, bytes, floor, last = tonumber(info[1] or 0), tonumber(info[2] or 0), info[3], info[4]
        renewed = tonumber(info[5] or 0)
        -- Checked now and then only. Its error, where the key is no stream, is not a number either.
        if now - renewed > ch.ttl / 16 and redis.pcall('XLEN', key) ~= n then
          redis.call('DEL', key)
          n, bytes, floor = 0, 0, last or fin
        end
      end
      if e[2] then
        local data = string.sub(ARGV[2], at, at + e[4] - 1)
        local done = redis.pcall('XADD', key, id, 'e', e[2], 'a', e[3], 'd', data)
        if type(done) == 'table' and done.err then
          if not string.find(done.err, 'smaller') then return done end
          redis.call('DEL', key)
          n, bytes, floor = 0, 0, last or fin
          redis.call('XADD', key, id, 'e', e[2], 'a', e[3], 'd', data)
        end
        n = n + 1
        bytes = bytes + e[4] + #e[2] + 256
        count = count + 1
      else
        floor = id
      end
      last = id
    end
    at = at + (e[4] or 0)
  end
  if n then
    if n > ch.count + math.floor(ch.count / 8) or bytes > ch.bytes * 1.125 then
      while n > 0 and (n > ch.count or bytes > ch.bytes) do
        local page = math.max(n - ch.count, math.ceil((bytes - ch.bytes) * n / bytes))
        local old = redis.call('XRANGE', key, '-', '+', 'COUNT', math.max(1, math.min(64, page)))
        if #old == 0 then break end
        local cut
        for _, entry in ipairs(old) do
          if n <= ch.count and bytes <= ch.bytes then break end
          n = n - 1
          bytes = bytes - #entry[2][2] - #entry[2][6] - 256
          cut = entry[1]
        end
        -- Messages may be missing after older ones: the floor is above these then.
        if not floor or floor == '' or above(cut, floor) then floor = cut end
        redis.call('XTRIM', key, 'MAXLEN', n)
      end
    end
    if now - renewed > ch.ttl / 16 then
      renewed = now
      redis.call('HSET', infoKey, 'n', n, 'bytes', bytes, 'floor', floor or '', 'last', last, 'renewed', now)
      redis.call('PEXPIRE', infoKey, math.floor(keep))
      redis.call('PEXPIRE', key, math.floor(ch.ttl * 17 / 16))
    else
      redis.call('HSET', infoKey, 'n', n, 'bytes', bytes, 'floor', floor or '', 'last', last)
    end
  end
end

redis.call('HSET', KEYS[1], 'end', h.to, 'mark', h.marks[#h.marks][1])
redis.call('PEXPIRE', KEYS[1], math.floor(keep))
if now - tonumber(range[3] or 0) > h.keep / 32 then
  local start = redis.call('HGET', KEYS[1], 'start')
  local times = (redis.call('HGET', KEYS[1], 'times') or '') .. string.format('%.0f %s;', now, h.to)
  while true do
    local t, id, rest = string.match(times, '^(%d+) ([%d%-]+);(.*)$')
    if not t or now - tonumber(t) <= h.keep then break end
    if above(id, start) then redis.call('HSET', KEYS[1], 'start', id, 'why', 'age') end
    times = rest
  end
  redis.call('HSET', KEYS[1], 'times', times, 'tick', now)
end
return {1, h.to, count}
`;

/**
 * Reads entries of a channel, the newest first. KEYS: the range, the channel's hash and stream. ARGV: the id up to which to
 * read, bytes to read, `1` to read the markers.
 * Returns start, end, why, markers, last, floor, whether the stream is as it was written, and entries.
 */
export const LOAD = `
local range = redis.call('HMGET', KEYS[1], 'start', 'end', 'why')
local marks = ''
if ARGV[3] == '1' then marks = redis.call('HGET', KEYS[1], 'marks') or '' end
local info = redis.call('HMGET', KEYS[2], 'n', 'bytes', 'floor', 'last')
local n = redis.call('XLEN', KEYS[3])
local intact = tonumber(info[1] or 0) == n
local entries = {}
if intact and n > 0 then
  local count = math.floor(tonumber(ARGV[2]) * n / math.max(1, tonumber(info[2])))
  entries = redis.call('XREVRANGE', KEYS[3], ARGV[1], '-', 'COUNT', math.max(2, math.min(1000, count)))
end
return {range[1] or '', range[2] or '', range[3] or '', marks, info[4] or '', info[3] or '', intact and 1 or 0, entries}
`;
