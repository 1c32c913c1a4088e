/// Why the store did not do what was asked of it. Never holds a secret.
public struct StoreFailure: Error, Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable {
        /// No connection, or it broke.
        case unreachable
        /// It did not answer in time.
        case timeout
        /// It does not know us, or does not let us: user, password, ACL.
        case auth
        /// No trusted connection: certificate, host name, protocol.
        case tls
        /// It answers, but cannot serve: loading, out of memory, no majority.
        case server
    }

    public var kind: Kind
    /// One clause that says what and where.
    public var text: String

    public init(kind: Kind, text: String) {
        self.kind = kind
        self.text = text
    }
}

/// One operation that the store is asked for.
public struct StoreRequest: Sendable, Hashable {
    /// Grows with every request of this daemon.
    public var number: UInt64
    public var operation: BreakerOperation

    public init(number: UInt64, operation: BreakerOperation) {
        self.number = number
        self.operation = operation
    }
}

/// What the store has to say.
public enum StoreNews: Sendable, Hashable {
    case answered(number: UInt64, LedgerReply)
    /// It may have been carried out, or not.
    case unanswered(number: UInt64, StoreFailure)
    /// Another host's operation changed something.
    case pushed(BreakerEntry)
    /// The connection stands, and pushes are subscribed to: now, or anew after something may have been missed.
    case connected
    /// It does not; attempts go on by themselves. Told again when the reason changes.
    case disconnected(StoreFailure)
}
