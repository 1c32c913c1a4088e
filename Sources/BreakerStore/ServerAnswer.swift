import SupervisorCore

/// What an error of Redis asks for.
enum ServerComplaint: Equatable {
    case moved(RedisAddress)
    case ask(RedisAddress)
    case noScript
    /// It is not, or no longer, the one to ask; another node may be.
    case notServing(StoreFailure)
    case failure(StoreFailure)

    /// - Parameter address: whom the command was sent to.
    init(_ bytes: [UInt8], from address: RedisAddress) {
        let words = Self.shown(bytes)
        let parts = words.split(separator: " ", maxSplits: 3)
        let code = parts.first ?? ""
        let failure = StoreFailure(kind: .server, text: "\(address) answers: \(words)")
        switch code {
        case "MOVED" where parts.count >= 3:
            self = RedisAddress(parts[2], fallback: address.host).map { .moved($0) } ?? .failure(failure)
        case "ASK" where parts.count >= 3:
            self = RedisAddress(parts[2], fallback: address.host).map { .ask($0) } ?? .failure(failure)
        case "NOSCRIPT": self = .noScript
        case "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY": self = .notServing(failure)
        case "NOAUTH", "WRONGPASS", "NOPERM":
            self = .failure(StoreFailure(kind: .auth, text: failure.text))
        case "ERR" where words.hasPrefix("ERR The user executing the script can't"):
            self = .failure(StoreFailure(kind: .auth, text: failure.text))
        // A replica says so of a command in a script behind the words of its error.
        case "ERR" where words.contains("-READONLY"): self = .notServing(failure)
        default: self = .failure(failure)
        }
    }

    /// One line that fits into a log. Names of users and commands only: what is sent with AUTH is never shown.
    private static func shown(_ bytes: [UInt8]) -> String {
        let limit = 200
        var words = String(decoding: bytes.prefix(limit).map { $0 < 32 || $0 == 127 ? 32 : $0 }, as: UTF8.self)
        // Where in the script it was is of no use to a reader of logs.
        if let place = words.firstRange(of: " script: ") { words.removeSubrange(place.lowerBound...) }
        return words
    }
}
