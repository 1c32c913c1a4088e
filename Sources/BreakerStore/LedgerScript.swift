/// The one script that Redis runs: `BreakerLedger.apply` in Lua, over six hashes of one slot.
///
/// It reads first, works on tables, and writes at the end: where a read or the first write fails, nothing has changed.
/// What it cannot read in a stored value counts as absent. Only tables are sorted, by bytes: Lua's own order of strings
/// is that of the server's locale.
enum LedgerScript {
    /// Its keys, in the order in which the script knows them, and the channel on which it tells what changed.
    ///
    /// One tag for the whole fleet: everything lies in one slot (DESIGN.md, decision 9).
    static func keys(fleet: String) -> [String] {
        ["registers", "overrides", "votes", "hosts", "changes", "meta"].map { "eider:{\(fleet)}:\($0)" }
    }

    static func channel(fleet: String) -> String { "eider:{\(fleet)}:events" }

    /// By the clock of Redis: hosts' clocks are never compared.
    static let text = source(
        clock: "(function(t) return t[1] * 1000 + math.floor(t[2] / 1000) end)(redis.call('TIME'))"
    )

    /// By a clock that is the last argument, for tests.
    static let textWithClock = source(clock: "tonumber(ARGV[#ARGV])")

    private static func source(clock: String) -> String {
        [values, cells, "local now = \(clock)\n" + step, transitions, operations, dispatch].joined()
    }

    /// Texts and what is in them. A stored value begins with the version of its form.
    static let values = #"""
        local US, RS, GS = '\31', '\30', '\29'
        local TTL, TTL_LEAST = 172800000, 86400000
        -- A time that nobody waits for, milliseconds.
        local LONGEST = 1000000000000
        local CLOSED, HALF_OPEN, OPEN = 0, 1, 2

        local function number(text)
          if type(text) ~= 'string' or #text > 17 or not string.find(text, '^%-?%d+$') then return nil end
          local value = tonumber(text)
          if value > 9007199254740991 or value < -9007199254740991 then return nil end
          return value
        end

        local function whole(value) return string.format('%.0f', value) end

        local function clean(text) return (string.gsub(text, '[%z\1-\31\127]', ' ')) end

        local function bounded(text)
          if #text > 160 then
            local cut = 160
            while cut > 0 do
              local following = string.byte(text, cut + 1)
              if following < 128 or following > 191 then break end
              cut = cut - 1
            end
            text = string.sub(text, 1, cut)
          end
          return clean(text)
        end

        local function before(left, right)
          local length = math.min(#left, #right)
          for i = 1, length do
            local a, b = string.byte(left, i), string.byte(right, i)
            if a ~= b then return a < b end
          end
          return #left < #right
        end

        local function split(text, separator)
          local fields, start = {}, 1
          while true do
            local stop = string.find(text, separator, start, true)
            if not stop then
              fields[#fields + 1] = string.sub(text, start)
              return fields
            end
            fields[#fields + 1] = string.sub(text, start, stop - 1)
            start = stop + 1
          end
        end

        local function sorted(map)
          local names = {}
          for name in pairs(map) do names[#names + 1] = name end
          table.sort(names, before)
          return names
        end

        local NUMBERS = {'state', 'epoch', 'openCount', 'changedAt', 'retryAt', 'wait', 'deadline', 'span', 'granted',
          'succeeded', 'failed', 'slow', 'inconclusive'}

        local COUNTS = {'openCount', 'granted', 'succeeded', 'failed', 'slow', 'inconclusive'}

        local function newRegister()
          local r = {origin = '', lastFailed = '', reason = '', leases = {}}
          for _, key in ipairs(NUMBERS) do r[key] = 0 end
          return r
        end

        local function copy(r)
          local twin = {}
          for key, value in pairs(r) do twin[key] = value end
          twin.leases = {}
          for i, lease in ipairs(r.leases) do
            twin.leases[i] = {token = lease.token, host = lease.host, incarnation = lease.incarnation,
              expiresAt = lease.expiresAt, span = lease.span}
          end
          return twin
        end

        local function parseLeases(text)
          local leases = {}
          if text == '' then return leases end
          for i, part in ipairs(split(text, RS)) do
            local f = split(part, GS)
            local token, expiresAt, span = number(f[1]), number(f[4]), number(f[5])
            if #f ~= 5 or i > 64 or not token or not expiresAt or not span then return nil end
            if span < 0 or span > LONGEST or #f[3] > 20 or not string.find(f[3], '^%-?%d+$') then return nil end
            leases[i] = {token = token, host = f[2], incarnation = f[3], expiresAt = expiresAt, span = span}
          end
          return leases
        end

        local function parseRegister(text)
          local f = #text <= 16384 and split(text, US) or {}
          if #f ~= 18 or f[1] ~= '1' then return nil end
          local r = {origin = f[15], lastFailed = f[16], reason = f[17], leases = parseLeases(f[18])}
          for i, key in ipairs(NUMBERS) do
            r[key] = number(f[i + 1])
            if not r[key] then return nil end
          end
          if not r.leases or r.state < 0 or r.state > 2 or r.epoch < 0 then return nil end
          for _, key in ipairs(COUNTS) do
            if r[key] < 0 or r[key] > 1000000000 then return nil end
          end
          if r.wait < 0 or r.wait > LONGEST or r.span < 0 or r.span > LONGEST then return nil end
          return r
        end

        local function textOfRegister(r)
          local f, leases = {'1'}, {}
          for i, key in ipairs(NUMBERS) do f[i + 1] = whole(r[key]) end
          for i, lease in ipairs(r.leases) do
            leases[i] = table.concat({whole(lease.token), lease.host, lease.incarnation, whole(lease.expiresAt),
              whole(lease.span)}, GS)
          end
          f[15], f[16], f[17], f[18] = r.origin, r.lastFailed, r.reason, table.concat(leases, RS)
          return table.concat(f, US)
        end

        local function parseOverride(text)
          local f = split(text, US)
          local mode, epoch, changedAt = number(f[2]), number(f[3]), number(f[4])
          if #f ~= 6 or f[1] ~= '1' or not mode or mode < 0 or mode > 4 then return nil end
          if not epoch or epoch < 0 or not changedAt then return nil end
          return {mode = mode, epoch = epoch, changedAt = changedAt, actor = f[5], reason = f[6]}
        end

        local function textOfOverride(o)
          return table.concat({'1', whole(o.mode), whole(o.epoch), whole(o.changedAt), o.actor, o.reason}, US)
        end

        local function parseVotes(text)
          local f = split(text, US)
          if #f < 2 or f[1] ~= '1' then return nil end
          local list = {}
          for i = 2, #f do
            local v = split(f[i], GS)
            local grade, expiresAt = number(v[2]), number(v[3])
            if #v ~= 3 or not expiresAt or (grade ~= 1 and grade ~= 2) then return nil end
            list[i - 1] = {host = v[1], grade = grade, expiresAt = expiresAt}
          end
          return list
        end

        local function textOfVotes(list)
          local f = {'1'}
          for i, v in ipairs(list) do
            f[i + 1] = table.concat({v.host, whole(v.grade), whole(v.expiresAt)}, GS)
          end
          return table.concat(f, US)
        end

        local function parseHost(text)
          local f = split(text, US)
          local seenAt = number(f[2])
          if #f ~= 2 or not seenAt then return nil end
          return {incarnation = f[1], seenAt = seenAt}
        end

        local function textOfHost(h) return h.incarnation .. US .. whole(h.seenAt) end


        """#

    /// A hash, of which only what is asked for is read, and only what has changed is written.
    static let cells = #"""
        local count = {}
        for i = 1, 6 do count[i] = redis.call('HLEN', KEYS[i]) end

        local function cellsOf(index, parse, text)
          return {key = KEYS[index], parse = parse, text = text, raw = {}, value = {}, touched = {}}
        end

        local registers = cellsOf(1, parseRegister, textOfRegister)
        local overrides = cellsOf(2, parseOverride, textOfOverride)
        local votes = cellsOf(3, parseVotes, textOfVotes)
        local hosts = cellsOf(4, parseHost, textOfHost)
        local changes = cellsOf(5, number, whole)

        local function take(c, name, raw)
          c.raw[name] = raw
          if raw then
            c.value[name] = c.parse(raw)
            -- What cannot be read goes with the next write.
            if c.value[name] == nil then c.touched[name] = true end
          end
        end

        local function get(c, name)
          if c.raw[name] == nil and not c.all then take(c, name, redis.call('HGET', c.key, name)) end
          return c.value[name]
        end

        local function set(c, name, value)
          get(c, name)
          c.value[name] = value
          c.touched[name] = true
        end

        local function loadAll(c)
          local pairsOf = redis.call('HGETALL', c.key)
          for i = 1, #pairsOf, 2 do
            if c.raw[pairsOf[i]] == nil then take(c, pairsOf[i], pairsOf[i + 1]) end
          end
          c.all = true
        end

        local function inGroups(command, key, arguments)
          for i = 1, #arguments, 1000 do
            redis.call(command, key, unpack(arguments, i, math.min(i + 999, #arguments)))
          end
        end

        local function flush(c)
          local kept, gone = {}, {}
          for name in pairs(c.touched) do
            local value = c.value[name]
            local text = value ~= nil and c.text(value) or nil
            if text == nil and c.raw[name] then
              gone[#gone + 1] = name
            elseif text ~= nil and text ~= c.raw[name] then
              kept[#kept + 1] = name
              kept[#kept + 1] = text
            end
          end
          inGroups('HSET', c.key, kept)
          inGroups('HDEL', c.key, gone)
          if #kept > 0 then redis.call('PEXPIRE', c.key, TTL) end
        end

        local meta = redis.call('HMGET', KEYS[6], 'v', 'sequence', 'bornAt')
        if meta[1] and meta[1] ~= '1' then
          return redis.error_reply('EIDER the keys of this fleet are those of another version')
        end
        local sequence, bornAt = number(meta[2]) or 0, number(meta[3]) or 0
        local op, caller, incarnation, channel = ARGV[1], clean(ARGV[2]), ARGV[3], ARGV[4]

        """#

    /// What a step knows: who is there, what it has changed, what is told of it.
    static let step = #"""
        local changed = {}

        local function note(name)
          if changed[name] then return end
          changed[name] = true
          sequence = math.max(sequence, now) + 1
          set(changes, name, sequence)
        end

        local function isLive(host)
          local h = hosts.value[host]
          return h ~= nil and now - h.seenAt < 15000
        end

        local function live()
          local n = 0
          for _, h in pairs(hosts.value) do
            if now - h.seenAt < 15000 then n = n + 1 end
          end
          return n
        end

        local function voters(name, grade)
          local found = {}
          for _, v in ipairs(get(votes, name) or {}) do
            if v.grade == grade and v.expiresAt > now and isLive(v.host) then found[#found + 1] = v.host end
          end
          return found
        end

        local function remaining(r)
          local told = copy(r)
          told.changedAt = r.epoch == 0 and 0 or math.max(0, now - r.changedAt)
          told.retryAt = r.state == OPEN and math.min(math.max(0, r.retryAt - now), r.wait) or 0
          told.deadline = r.state == HALF_OPEN and math.min(math.max(0, r.deadline - now), r.span) or 0
          for _, lease in ipairs(told.leases) do
            lease.expiresAt = math.min(math.max(0, lease.expiresAt - now), lease.span)
          end
          return told
        end

        local function rebuilt(r)
          local held = copy(r)
          held.changedAt = now - math.max(0, r.changedAt)
          held.retryAt = r.state == OPEN and now + math.min(math.max(0, r.retryAt), r.wait) or 0
          held.deadline = r.state == HALF_OPEN and now + math.min(math.max(0, r.deadline), r.span) or 0
          for _, lease in ipairs(held.leases) do
            lease.expiresAt = now + math.min(math.max(0, lease.expiresAt), lease.span)
          end
          return held
        end

        local function entry(name, present)
          local o = get(overrides, name) or {mode = 0, epoch = 0, changedAt = 0, actor = '', reason = ''}
          local age = o.epoch == 0 and 0 or math.max(0, now - o.changedAt)
          local r = remaining(get(registers, name) or newRegister())
          return table.concat({name, textOfRegister(r), '1', whole(o.mode), whole(o.epoch), whole(age),
            o.actor, o.reason, table.concat(voters(name, 2), RS), table.concat(voters(name, 1), RS), present,
            whole(get(changes, name) or 0)}, US)
        end

        local function finish(verdict, names)
          for _, c in ipairs({registers, overrides, votes, hosts, changes}) do flush(c) end
          if whole(sequence) ~= meta[2] or whole(bornAt) ~= meta[3] then
            redis.call('HSET', KEYS[6], 'v', '1', 'sequence', whole(sequence), 'bornAt', whole(bornAt))
            redis.call('PEXPIRE', KEYS[6], TTL)
          end
          local present, told = whole(live()), {}
          for _, name in ipairs(sorted(changed)) do
            told[name] = entry(name, present)
            redis.call('PUBLISH', channel, told[name])
          end
          local reply = {verdict, present, whole(sequence)}
          for _, name in ipairs(names) do reply[#reply + 1] = told[name] or entry(name, present) end
          return reply
        end


        """#
}
