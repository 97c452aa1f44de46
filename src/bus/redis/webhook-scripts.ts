/**
 * Appends an event, and drops the oldest ones if there are too many. Uses: `events`, `wanted`, `most`, `gapKey`, `gapEvery`, `now`.
 */
const APPEND = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local dropped = 0
local function append(event, channel, user, at)
  if not string.find(wanted, ' ' .. event .. ' ', 1, true) then return end
  local entry = {'XADD', events, '*', 'e', event, 'c', channel, 'a', string.format('%.0f', at)}
  if user then
    entry[#entry + 1] = 'u'
    entry[#entry + 1] = user
  end
  redis.call(unpack(entry))
  local extra = redis.call('XLEN', events) - most
  if extra <= 0 then return end
  redis.call('XTRIM', events, 'MAXLEN', most)
  dropped = dropped + extra
  if event ~= 'gap' and redis.call('SET', gapKey, '1', 'NX', 'PX', gapEvery) then append('gap', '*', nil, now) end
end
`;

/**
 * Applies changes of one server to one channel. KEYS: the stream, the channel's members, the vacant channels, the server's
 * channels, the servers, the pause between gaps. ARGV: wanted events, maximum, ms between gaps, server, channel, ms until a
 * channel is vacated, then kind, field and time of each change. Returns the number of dropped events.
 *
 * A member is a field: "u" and its user, or empty where users are not distinguished; its value names the servers that have it,
 * each between spaces. A server's channels have the number of its members in each.
 */
export const WRITE = `
local events, members, vacant, channels, servers, gapKey = unpack(KEYS)
local wanted, server, channel = ARGV[1], ARGV[4], ARGV[5]
local most, gapEvery, vacantAfter = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[6])
${APPEND}
local name = ' ' .. server .. ' '
local function enter(field, at)
  local known = redis.call('HGET', members, field)
  if known and string.find(known, name, 1, true) then return end
  local opens = not known and redis.call('EXISTS', members) == 0
  redis.call('HSET', members, field, known and known .. server .. ' ' or name)
  if redis.call('HINCRBY', channels, channel, 1) == 1 then redis.call('SADD', servers, server) end
  if opens and redis.call('ZREM', vacant, channel) == 0 then append('channel_occupied', channel, nil, at) end
  if not known and field ~= '' then append('member_added', channel, string.sub(field, 2), at) end
end
local function leave(field, at)
  local known = redis.call('HGET', members, field)
  local first, last = string.find(known or '', name, 1, true)
  if not first then return end
  if redis.call('HINCRBY', channels, channel, -1) <= 0 then
    redis.call('HDEL', channels, channel)
    if redis.call('EXISTS', channels) == 0 then redis.call('SREM', servers, server) end
  end
  local rest = string.sub(known, 1, first) .. string.sub(known, last + 1)
  if rest ~= ' ' then
    redis.call('HSET', members, field, rest)
    return
  end
  redis.call('HDEL', members, field)
  if field ~= '' then append('member_removed', channel, string.sub(field, 2), at) end
  if redis.call('EXISTS', members) == 0 then
    redis.call('ZADD', vacant, string.format('%.0f', now + vacantAfter), channel)
  end
end
for i = 7, #ARGV, 3 do
  local kind, field, at = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if kind ~= 'absent' then enter(field, at) end
  if kind ~= 'present' then leave(field, at) end
end
return dropped
`;

/** Adds an event. KEYS: the stream, the pause between gaps. ARGV: wanted events, maximum, ms between gaps, event, channel, time. */
export const ADD = `
local events, gapKey = unpack(KEYS)
local wanted, most, gapEvery = ARGV[1], tonumber(ARGV[2]), ARGV[3]
${APPEND}
append(ARGV[4], ARGV[5], nil, tonumber(ARGV[6]))
return dropped
`;

/**
 * Takes or extends the lease of a stream, vacates channels, and forms the next batch. KEYS: the stream, the lease, the batch, the
 * vacant channels, the pause between gaps. ARGV: wanted events, maximum, ms between gaps, owner, ms of the lease, events of a batch
 * (0: none is formed), ms for which events are collected, channels to vacate at most.
 * Returns nothing if another owner has the lease; else backlog, dropped events, and for a batch its last id, its time, its
 * entries.
 *
 * The end of a batch is kept, so that the next owner sends the same again.
 */
export const POLL = `
local events, lease, batch, vacant, gapKey = unpack(KEYS)
local wanted, most, gapEvery = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local owner, ttl, size, collect = ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local holder = redis.call('GET', lease)
if holder == owner then redis.call('PEXPIRE', lease, ttl)
elseif holder or not redis.call('SET', lease, owner, 'NX', 'PX', ttl) then return false end
${APPEND}
local due = redis.call('ZRANGEBYSCORE', vacant, '-inf', string.format('%.0f', now), 'WITHSCORES', 'LIMIT', 0, ARGV[8])
for i = 1, #due, 2 do
  redis.call('ZREM', vacant, due[i])
  append('channel_vacated', due[i], nil, tonumber(due[i + 1]))
end
local backlog = redis.call('XLEN', events)
if size == 0 or backlog == 0 then return {backlog, dropped} end
local last, at = string.match(redis.call('GET', batch) or '', '^(%S+) (%d+)$')
local entries = last and redis.call('XRANGE', events, '-', last, 'COUNT', size) or {}
if #entries == 0 then
  entries = redis.call('XRANGE', events, '-', '+', 'COUNT', size)
  if #entries < size and now - tonumber(string.match(entries[1][1], '^%d+')) < collect then return {backlog, dropped} end
  last, at = entries[#entries][1], string.format('%.0f', now)
  redis.call('SET', batch, last .. ' ' .. at)
end
return {backlog, dropped, last, at, entries}
`;

/**
 * Removes a batch. KEYS: the stream, the lease, the batch, the last error, the pause between gaps. ARGV: wanted events, maximum, ms
 * between gaps, owner, the last id of the batch, whether it was delivered. Returns 0 if another owner has the lease.
 */
export const FINISH = `
local events, lease, batch, failure, gapKey = unpack(KEYS)
local wanted, most, gapEvery = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if redis.call('GET', lease) ~= ARGV[4] then return 0 end
${APPEND}
local ids = {'XDEL', events}
for _, entry in ipairs(redis.call('XRANGE', events, '-', ARGV[5])) do ids[#ids + 1] = entry[1] end
if #ids > 2 then redis.call(unpack(ids)) end
redis.call('DEL', batch)
if ARGV[6] == '1' then redis.call('DEL', failure) else append('gap', '*', nil, now) end
return 1
`;

/** Gives a lease back. KEYS: the lease. ARGV: the owner. */
export const RELEASE = `
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
`;
