import NIOCore
import SupervisorCore

/// From a connection to one that is of use: who we are, who has the slot, the subscription, the script.
extension StoreDriver {
    private typealias Step = (RedisConnection) -> Void

    func setUp(_ address: RedisAddress, _ attempt: UInt64) {
        do throws(StoreFailure) {
            let file = spec.redis.passwordFile
            password = file.isEmpty ? nil : try PasswordFile.read(file)
        } catch {
            return handle(.failed(error))
        }
        commands = connection(to: address, attempt) { [weak self] commands in
            guard let self else { return }
            if self.spec.redis.cluster {
                self.askForOwner(commands, attempt)
            } else {
                self.subscribe(commands, attempt)
            }
        }
    }

    /// Connects and says who we are; a failure is the attempt's.
    private func connection(
        to address: RedisAddress,
        _ attempt: UInt64,
        _ next: @escaping Step
    ) -> RedisConnection {
        var made: RedisConnection?
        let connection = RedisConnection.connect(
            to: address,
            tls: tls,
            timeout: .milliseconds(limits.connectTimeout),
            loop: loop
        ) { [weak self] event in
            guard let self, self.generation == attempt else { return }
            switch event {
            case .ready:
                guard let connection = made else { return }
                self.hasAnswered = true
                self.authenticate(connection, attempt) { next(connection) }
            case .message(let payload): self.pushed(payload)
            case .closed(let failure):
                made = nil
                self.handle(.failed(failure))
            }
        }
        made = connection
        return connection
    }

    /// One command of the attempt; what goes wrong ends it.
    private func ask(
        _ connection: RedisConnection,
        _ words: [[UInt8]],
        _ attempt: UInt64,
        _ next: @escaping (RESPValue) -> Void
    ) {
        let deadline = NIODeadline.now() + .milliseconds(limits.connectTimeout)
        connection.send(words, until: deadline) { [weak self] result in
            guard let self, self.generation == attempt else { return }
            switch result {
            case .success(let value): next(value)
            case .failure(let failure): self.handle(.failed(failure))
            }
        }
    }

    private func fail(_ bytes: [UInt8], _ address: RedisAddress) {
        switch ServerComplaint(bytes, from: address) {
        case .notServing(let failure), .failure(let failure): handle(.failed(failure))
        case .moved(let owner) where spec.redis.cluster: handle(.view(owner: owner, nodes: [owner]))
        case .moved where !spec.redis.cluster: handle(.failed(Self.isOfCluster(address)))
        case .moved, .ask, .noScript:
            handle(.failed(StoreFailure(kind: .server, text: "\(address) is not the node to ask")))
        }
    }

    static func isOfCluster(_ address: RedisAddress) -> StoreFailure {
        StoreFailure(kind: .server, text: "\(address) is a node of a cluster; set breaker.redis.cluster = true")
    }

    /// AUTH, where there is a password. The server's words may repeat what it was sent: only their first is shown.
    private func authenticate(_ connection: RedisConnection, _ attempt: UInt64, _ next: @escaping () -> Void) {
        guard let command = credentials else { return next() }
        let address = connection.address
        ask(connection, command, attempt) { [weak self] value in
            guard case .error(let bytes) = value else { return next() }
            self?.handle(.failed(Self.refusal(bytes, address)))
        }
    }

    private var credentials: [[UInt8]]? {
        guard let password else { return nil }
        let user = spec.redis.username
        return [Array("AUTH".utf8)] + (user.isEmpty ? [] : [Array(user.utf8)]) + [password]
    }

    static func refusal(_ bytes: [UInt8], _ address: RedisAddress) -> StoreFailure {
        if case .notServing(let failure) = ServerComplaint(bytes, from: address) { return failure }
        let code = bytes.prefix { $0 > 32 && $0 < 127 }.prefix(32)
        let text = "\(address) does not take the user and password (\(String(decoding: code, as: UTF8.self)))"
        return StoreFailure(kind: .auth, text: text)
    }

    private func askForOwner(_ commands: RedisConnection, _ attempt: UInt64) {
        ask(commands, [Array("CLUSTER".utf8), Array("SLOTS".utf8)], attempt) { [weak self] value in
            guard let self else { return }
            if case .error(let bytes) = value { return self.fail(bytes, commands.address) }
            guard let view = ClusterView(value, slot: self.slot, askedAt: commands.address.host) else {
                let text = "cannot read the view of the cluster that \(commands.address) has"
                return self.handle(.failed(StoreFailure(kind: .server, text: text)))
            }
            self.handle(.view(owner: view.owner, nodes: view.nodes))
            // It may have been another attempt's beginning.
            if self.generation == attempt { self.subscribe(commands, attempt) }
        }
    }

    /// On a connection of its own to the same node: the one with commands cannot do both.
    private func subscribe(_ commands: RedisConnection, _ attempt: UInt64) {
        pushes = connection(to: commands.address, attempt) { [weak self] pushes in
            guard let self else { return }
            let words = [Array("SUBSCRIBE".utf8), Array(self.channelName.utf8)]
            self.ask(pushes, words, attempt) { [weak self] value in
                if case .error(let bytes) = value { return self?.fail(bytes, pushes.address) ?? () }
                self?.probe(commands, attempt)
            }
        }
    }

    /// Calls the script once for nothing: what it needs is there, and allowed.
    private func probe(_ commands: RedisConnection, _ attempt: UInt64, hasLoaded: Bool = false) {
        let words = ["ready", caller.host, "\(caller.incarnation)", channelName].map { Array($0.utf8) }
        let now = NIODeadline.now()
        let errand = Errand(number: 0, arguments: words, sentAt: now, deadline: now, hasLoaded: hasLoaded)
        ask(commands, call(errand), attempt) { [weak self] value in
            guard let self else { return }
            guard case .error(let bytes) = value else { return self.handle(.ready) }
            if case .noScript = ServerComplaint(bytes, from: commands.address), !hasLoaded {
                return self.probe(commands, attempt, hasLoaded: true)
            }
            self.fail(bytes, commands.address)
        }
    }

    private func pushed(_ payload: [UInt8]) {
        guard let entry = LedgerCodec.entry(payload) else {
            counters.change { $0.unreadable &+= 1 }
            return
        }
        counters.change { $0.pushed &+= 1 }
        tell(.pushed(entry))
    }

    // MARK: A slot on its way

    private static let helperLimit = 8

    /// The slot is being moved, and the keys are there already: one command, over a connection of its own.
    func ask(_ errand: Errand, at address: RedisAddress) {
        guard helpers.count < Self.helperLimit else {
            return finish(errand, StoreFailure(kind: .server, text: "the slot moves to \(address)"))
        }
        helperNumber &+= 1
        let number = helperNumber
        var errand = errand
        // Whether that node has the script is not worth a round trip.
        errand.hasLoaded = true
        let request = errand
        var isOver = false
        let end: (Result<RESPValue, StoreFailure>) -> Void = { [weak self] result in
            if isOver { return }
            isOver = true
            self?.helpers.removeValue(forKey: number)?.close(StoreFailure(kind: .unreachable, text: "done"))
            self?.take(result, request, from: address)
        }
        helpers[number] = RedisConnection.connect(
            to: address,
            tls: tls,
            timeout: .milliseconds(limits.connectTimeout),
            loop: loop
        ) { [weak self] event in
            switch event {
            case .ready:
                guard let self, let helper = self.helpers[number] else { return }
                if let command = self.credentials { helper.send(command, until: request.deadline) { _ in } }
                helper.send([Array("ASKING".utf8)], until: request.deadline) { _ in }
                helper.send(self.call(request), until: request.deadline, end)
            case .message: break
            case .closed(let failure): end(.failure(failure))
            }
        }
        _ = loop.assumeIsolated().scheduleTask(deadline: request.deadline) { () -> Void in
            end(.failure(StoreFailure(kind: .timeout, text: "\(address) did not answer in time")))
        }
    }
}
