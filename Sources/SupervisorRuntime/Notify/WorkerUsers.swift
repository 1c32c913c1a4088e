/// The users that workers run as: who can belong to the fleet at all.
public struct WorkerUsers: Sendable, Equatable {
    /// Whose look-ups are counted together.
    public enum Share: Sendable, Hashable {
        /// A user that some service runs as.
        case user(UInt32)
        /// All others that could still be a worker's process.
        case others
    }

    private let uids: Set<UInt32>

    /// - Parameter uids: for each service the user that it runs as, a service without one as the daemon itself.
    public init(_ uids: some Sequence<UInt32>) {
        self.uids = Set(uids)
    }

    /// Nil: no process of this user can be of the fleet. Workers of root can make processes of any user, and a
    /// set-user-ID program makes a process of root.
    public func share(of uid: UInt32) -> Share? {
        if uids.contains(uid) { return .user(uid) }
        return uid == 0 || uids.contains(0) ? .others : nil
    }
}
