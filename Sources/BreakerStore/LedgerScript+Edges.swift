/// The edges of a breaker, as in `BreakerLedger+Transitions.swift`, and what hosts ask for.
extension LedgerScript {
    static let transitions = #"""
        local function write(name, r)
          local stored = get(registers, name)
          r.epoch = math.max(stored and stored.epoch or 0, now) + 1
          r.origin = caller
          r.changedAt = now
          set(registers, name, r)
          note(name)
        end

        local function reopen(name, r)
          r.state = OPEN
          r.retryAt = now + r.wait
          r.deadline, r.span, r.leases = 0, 0, {}
          write(name, r)
        end

        local function close(name, openCount, reason)
          local r = newRegister()
          r.openCount = openCount
          r.reason = bounded(reason)
          set(votes, name, nil)
          write(name, r)
        end

        local function dropLeases(r, isGone)
          local kept = {}
          for _, lease in ipairs(r.leases) do
            if not isGone(lease) then kept[#kept + 1] = lease end
          end
          local dropped = #r.leases - #kept
          r.leases = kept
          r.inconclusive = r.inconclusive + dropped
          return dropped > 0
        end

        local function tick(name)
          local r = get(registers, name)
          if not r then return end
          local function cap(t, key, limit)
            if t[key] <= limit then return end
            t[key] = limit
            registers.touched[name] = true
          end
          cap(r, 'changedAt', now)
          if r.state == OPEN then cap(r, 'retryAt', now + r.wait) end
          if r.state == HALF_OPEN then cap(r, 'deadline', now + r.span) end
          for _, lease in ipairs(r.leases) do cap(lease, 'expiresAt', now + lease.span) end
          if #r.leases > 0 and dropLeases(r, function(lease) return lease.expiresAt <= now end) then
            registers.touched[name] = true
            note(name)
          end
          if r.state == HALF_OPEN and now >= r.deadline then
            r.reason = bounded('no probe came to an end in time; ' .. r.reason)
            reopen(name, r)
          end
        end

        local function endRound(name, limit)
          local r = get(registers, name)
          if not r or r.state ~= HALF_OPEN or #r.leases > 0 or r.inconclusive < limit then return end
          reopen(name, r)
        end

        -- wait * factor / 10^9 without a product that a double cannot hold.
        local function waitOf(policy, openCount, draw)
          local wait, n = math.min(policy.waitInitial, policy.waitMaximum), 1
          while n < openCount and wait < policy.waitMaximum and n < 64 do
            wait = math.min(policy.waitMaximum, math.floor(wait * policy.waitMultiplier / 1000))
            n = n + 1
          end
          local factor = 1000000000 + policy.jitter * (2 * draw - 1000000)
          local high = math.floor(factor / 100000)
          local low = factor - high * 100000
          return math.floor((wait * high + math.floor(wait * low / 100000)) / 10000)
        end

        local function leaseIndex(r, token)
          for i, lease in ipairs(r and r.leases or {}) do
            if lease.token == token and lease.host == caller and lease.incarnation == incarnation then return i end
          end
        end

        local function granted(token, span) return 'granted' .. US .. whole(token) .. US .. whole(span) end

        local function denied(code) return 'denied' .. US .. code end


        """#

    static let operations = #"""
        local function lease(name, policy)
          local stored = get(registers, name)
          if not stored or stored.state == CLOSED then return denied('1') end
          local o = get(overrides, name)
          if o and o.mode == 4 then return denied('5') end
          local r = copy(stored)
          for i, held in ipairs(r.leases) do
            if held.host == caller then
              if held.incarnation == incarnation then
                held.expiresAt = now + held.span
                set(registers, name, r)
                return granted(held.token, held.span)
              end
              table.remove(r.leases, i)
              r.inconclusive = r.inconclusive + 1
              break
            end
          end
          if r.state == OPEN then
            if now < r.retryAt then return denied('2') end
            local others = live() - (isLive(caller) and 1 or 0)
            if r.lastFailed == caller and others > 0 and now < r.retryAt + 5000 then return denied('4') end
            r.state = HALF_OPEN
            r.deadline = now + policy.halfOpenMaximum
            r.span = policy.halfOpenMaximum
            r.granted, r.succeeded, r.failed, r.slow, r.inconclusive = 0, 0, 0, 0, 0
          end
          local taken = r.succeeded + r.failed + #r.leases
          if #r.leases >= policy.concurrentProbes or taken >= policy.permitted then
            set(registers, name, r)
            return denied('3')
          end
          r.granted = r.granted + 1
          local token = math.max(stored.epoch, now) + 1
          r.leases[#r.leases + 1] = {token = token, host = caller, incarnation = incarnation,
            expiresAt = now + policy.leaseSpan, span = policy.leaseSpan}
          write(name, r)
          return granted(token, policy.leaseSpan)
        end

        local function renew(name, token)
          local r = get(registers, name)
          local i = leaseIndex(r, token)
          if not i then return 'stale' end
          r.leases[i].expiresAt = now + r.leases[i].span
          registers.touched[name] = true
          return granted(token, r.leases[i].span)
        end

        local function result(name, token, verdict, reason, policy, draw)
          local r = get(registers, name)
          local i = leaseIndex(r, token)
          if not i then return 'stale' end
          table.remove(r.leases, i)
          if verdict == 1 then
            r.succeeded = r.succeeded + 1
          elseif verdict == 4 then
            r.succeeded = r.succeeded + 1
            r.slow = r.slow + 1
          elseif verdict == 2 then
            r.failed = r.failed + 1
            r.lastFailed = caller
          else
            r.inconclusive = r.inconclusive + 1
          end
          registers.touched[name] = true
          note(name)
          local isTooSlow = r.slow * 1000 >= policy.slowRate * math.max(1, r.succeeded + r.failed)
          local isEnough = r.succeeded >= policy.successThreshold
          if isEnough and not isTooSlow then
            close(name, r.openCount, 'a probe on ' .. caller .. ' succeeded')
          elseif isEnough or policy.permitted - r.failed < policy.successThreshold then
            r.openCount = r.openCount + 1
            r.wait = waitOf(policy, r.openCount, draw)
            local how = verdict == 2 and 'failed' or 'was slow'
            r.reason = bounded('the probe on ' .. caller .. ' ' .. how .. ': ' .. reason)
            reopen(name, r)
          else
            endRound(name, policy.inconclusiveLimit)
          end
          return 'done'
        end

        local function withdraw(name)
          local list = get(votes, name)
          for i, v in ipairs(list or {}) do
            if v.host == caller then
              table.remove(list, i)
              set(votes, name, #list > 0 and list or nil)
              return note(name)
            end
          end
        end

        local function open(name, reason, policy, draw)
          local r = get(registers, name) or newRegister()
          local o = get(overrides, name)
          local mode = o and o.mode or 0
          if r.state ~= CLOSED or mode > 1 then return end
          local tripped, suspecting, present = voters(name, 2), voters(name, 1), live()
          local quorum = math.max(policy.quorumLeast, math.floor((policy.quorumFraction * present + 999) / 1000))
          if present <= 1 and now - bornAt >= 15000 then quorum = 1 end
          local suspects = math.max(policy.suspectLeast, math.floor((policy.suspectFraction * present + 999) / 1000))
          local isSuspected = present >= policy.suspectLeast and #tripped + #suspecting >= suspects
          if #tripped < quorum and not isSuspected then return end
          if r.epoch > 0 and now - r.changedAt >= policy.backoffReset then r.openCount = 0 end
          r.openCount = r.openCount + 1
          r.wait = waitOf(policy, r.openCount, draw)
          local evidence = #tripped .. ' tripped and ' .. #suspecting .. ' suspect of ' .. present .. ' hosts'
          if present > 1 then
            for _, host in ipairs(suspecting) do tripped[#tripped + 1] = host end
            table.sort(tripped, before)
            reason = reason .. ' (' .. evidence .. ': ' .. table.concat(tripped, ',') .. ')'
          end
          r.reason = bounded(reason)
          reopen(name, r)
        end

        local function vote(name, grade, reason, policy, draw)
          if grade == 0 then return withdraw(name) end
          local earlier, list = 0, {}
          local mine = {host = caller, grade = grade, expiresAt = now + policy.voteSpan}
          for _, v in ipairs(get(votes, name) or {}) do
            if v.host == caller then
              if earlier == 0 then earlier = v.grade end
            elseif v.expiresAt > now then
              if mine and before(caller, v.host) then
                list[#list + 1] = mine
                mine = nil
              end
              list[#list + 1] = v
            end
          end
          if mine then list[#list + 1] = mine end
          set(votes, name, list)
          if earlier ~= grade then note(name) end
          open(name, reason, policy, draw)
        end

        local function force(name, mode, actor, reason)
          local earlier = get(overrides, name) or {mode = 0, epoch = 0, actor = ''}
          set(overrides, name, {mode = mode, epoch = math.max(earlier.epoch, now) + 1, actor = bounded(actor),
            reason = bounded(reason), changedAt = now})
          note(name)
          if mode == 0 and earlier.mode == 4 then
            local r = get(registers, name) or newRegister()
            r.openCount = math.max(1, r.openCount)
            r.reason = bounded('was forced open by ' .. earlier.actor .. ': a probe must show that it works')
            r.wait = 0
            reopen(name, r)
          elseif mode == 0 and earlier.mode == 3 then
            local r = get(registers, name)
            close(name, r and r.openCount or 0, 'was forced closed by ' .. earlier.actor)
          end
        end

        local ORDER = {'openCount', 'granted', 'succeeded', 'failed', 'slow', 'inconclusive', 'wait', 'span'}

        local function precedes(a, b)
          if a.epoch ~= b.epoch then return a.epoch < b.epoch end
          if a.state ~= b.state then return a.state < b.state end
          if a.origin ~= b.origin then return before(a.origin, b.origin) end
          for _, key in ipairs(ORDER) do
            if a[key] ~= b[key] then return a[key] < b[key] end
          end
          if a.reason ~= b.reason then return before(a.reason, b.reason) end
          return before(a.lastFailed, b.lastFailed)
        end

        local function overridePrecedes(a, b)
          if a.epoch ~= b.epoch then return a.epoch < b.epoch end
          if a.mode ~= b.mode then return a.mode < b.mode end
          if a.actor ~= b.actor then return before(a.actor, b.actor) end
          return before(a.reason, b.reason)
        end

        local function restore(name, r, o)
          local stored = get(registers, name)
          if (stored or r.state ~= CLOSED) and precedes(stored or newRegister(), r) then
            set(registers, name, rebuilt(r))
            note(name)
          end
          local known = get(overrides, name)
          local none = {mode = 0, epoch = 0, actor = '', reason = ''}
          if (known or o.mode ~= 0) and overridePrecedes(known or none, o) then
            o.changedAt = now - o.changedAt
            set(overrides, name, o)
            note(name)
          end
        end

        local function leave()
          for _, c in ipairs({votes, registers}) do loadAll(c) end
          set(hosts, caller, nil)
          for _, name in ipairs(sorted(votes.value)) do withdraw(name) end
          for _, name in ipairs(sorted(registers.value)) do
            if dropLeases(registers.value[name], function(l) return l.host == caller end) then
              registers.touched[name] = true
              note(name)
            end
          end
        end


        """#

    static let dispatch = #"""
        local function isKnown(name) return get(registers, name) or get(overrides, name) or get(votes, name) end

        local function forget()
          for name, h in pairs(hosts.value) do
            if now - h.seenAt >= 60000 then set(hosts, name, nil) end
          end
          for name in pairs(changes.value) do
            local list = get(votes, name)
            if list then
              local kept = {}
              for _, v in ipairs(list) do
                if v.expiresAt > now then kept[#kept + 1] = v end
              end
              set(votes, name, #kept > 0 and kept or nil)
            end
            local r, o = get(registers, name), get(overrides, name)
            if r and now - r.changedAt >= (r.state == CLOSED and 3600000 or 86400000) then
              set(registers, name, nil)
            end
            if o and o.mode == 0 and now - o.changedAt >= 86400000 then set(overrides, name, nil) end
            if not isKnown(name) then set(changes, name, nil) end
          end
        end

        -- Whatever the times in it, what is held lives on while hosts are there.
        local function keepAlive()
          for i = 1, 6 do
            local left = redis.call('PTTL', KEYS[i])
            if left ~= -2 and left < TTL_LEAST then redis.call('PEXPIRE', KEYS[i], TTL) end
          end
        end

        local function sync(known)
          for _, c in ipairs({registers, overrides, votes, changes}) do loadAll(c) end
          local isFresh = hosts.value[caller] ~= nil and known <= sequence
          local present, n = live(), 0
          if present == 0 then bornAt = now end
          for _ in pairs(hosts.value) do n = n + 1 end
          if hosts.value[caller] or n < 1024 then set(hosts, caller, {incarnation = incarnation, seenAt = now}) end
          -- In order, because each change gets a place; closed ones, which are most, have nothing that ends.
          local due = {}
          for name, r in pairs(registers.value) do
            if r.state ~= CLOSED or #r.leases > 0 or r.changedAt > now then due[name] = true end
          end
          for _, name in ipairs(sorted(due)) do tick(name) end
          -- Whose place in the order of changes was lost gets a new one, or nobody would ever hear of it.
          for _, c in ipairs({registers, overrides, votes}) do
            local lost = {}
            for name in pairs(c.value) do
              if not changes.value[name] then lost[name] = true end
            end
            for _, name in ipairs(sorted(lost)) do note(name) end
          end
          forget()
          local since, names = isFresh and known or 0, {}
          for name, value in pairs(changes.value) do
            if value > since then names[#names + 1] = name end
          end
          table.sort(names, before)
          local reply = finish(isFresh and 'done' or 'stale', names)
          keepAlive()
          return reply
        end

        local POLICY = {'waitInitial', 'waitMultiplier', 'waitMaximum', 'jitter', 'backoffReset', 'permitted',
          'concurrentProbes', 'successThreshold', 'slowRate', 'halfOpenMaximum', 'leaseSpan', 'inconclusiveLimit',
          'quorumFraction', 'quorumLeast', 'suspectFraction', 'suspectLeast', 'voteSpan'}

        local unreadable = redis.error_reply('EIDER cannot read the request')

        local function policyFrom(first)
          local policy = {}
          for i, key in ipairs(POLICY) do
            policy[key] = number(ARGV[first + i - 1])
            if not policy[key] then return nil end
          end
          return policy
        end

        if #KEYS ~= 6 or not channel or not string.find(incarnation, '^%-?%d+$') then return unreadable end
        -- Nothing is changed: it shows that everything that is needed is allowed and can be written.
        if op == 'ready' then
          redis.call('PEXPIRE', KEYS[6], TTL)
          return {'done', '0', '0'}
        end

        loadAll(hosts)
        for name, h in pairs(hosts.value) do
          if h.seenAt > now then
            h.seenAt = now
            hosts.touched[name] = true
          end
        end
        bornAt = math.min(bornAt, now)

        if op == 'sync' then
          local known = number(ARGV[5])
          if not known then return unreadable end
          return sync(known)
        elseif op == 'leave' then
          leave()
          return finish('done', {})
        end

        local name = ARGV[5] and clean(ARGV[5])
        if not name or name == '' or #name > 1024 then return unreadable end
        local a, b, c, d, policy, draw = ARGV[6], ARGV[7], ARGV[8], ARGV[9], nil, nil
        local isFull = not isKnown(name) and count[5] >= 4096
        local run
        if op == 'vote' then
          a, policy, draw = number(a), policyFrom(9), number(c)
          if a and b and policy and draw then run = function() vote(name, a, b, policy, draw) end end
        elseif op == 'lease' then
          policy = policyFrom(7)
          if policy then
            run = function()
              endRound(name, policy.inconclusiveLimit)
              return lease(name, policy)
            end
          end
        elseif op == 'renew' then
          a = number(a)
          if a then run = function() return renew(name, a) end end
        elseif op == 'result' then
          a, b, policy, draw = number(a), number(b), policyFrom(10), number(d)
          if a and b and c and policy and draw then
            run = function() return result(name, a, b, c, policy, draw) end
          end
        elseif op == 'force' then
          a = number(a)
          if a and a >= 0 and a <= 4 and b and c then run = function() force(name, a, b, c) end end
        elseif op == 'reset' then
          if a and b then
            run = function() close(name, 0, b == '' and 'reset by ' .. a or 'reset by ' .. a .. ': ' .. b) end
          end
        elseif op == 'restore' then
          local r, o = a and parseRegister(a), b and parseOverride(b)
          if r and o then run = function() restore(name, r, o) end end
        end
        if not run then return unreadable end
        if isFull then return finish('done', {}) end
        tick(name)
        return finish(run() or 'done', {name})
        """#
}
