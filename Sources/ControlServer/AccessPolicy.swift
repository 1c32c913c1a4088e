/// Who may do what on the control socket, by the users and `@groups` of the configuration.
public struct AccessPolicy: Sendable {
    /// What a caller may do; each includes the ones before it.
    public enum Level: Int, Sendable, Comparable {
        case none, reader, admin

        public static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }
    }

    /// A caller, as the user database and the policy know them.
    public struct Identity: Sendable, Equatable {
        /// The user's name, or the number where it has none.
        public var name: String
        public var level: Level

        public init(name: String, level: Level) {
            self.name = name
            self.level = level
        }
    }

    private let admins: [String]
    private let readers: [String]
    private let lookup: any AccountLookup
    private let ownUser: UInt32
    /// Root; another in tests that run as root.
    private let superuser: UInt32

    /// - Parameters:
    ///   - admins: users by name or number, groups written `@group`. Root and `ownUser` are admins without being named.
    ///   - readers: the same for those who may only look.
    ///   - ownUser: the effective user of the daemon.
    public init(admins: [String], readers: [String], lookup: any AccountLookup, ownUser: UInt32) {
        self.init(admins: admins, readers: readers, lookup: lookup, ownUser: ownUser, superuser: 0)
    }

    init(admins: [String], readers: [String], lookup: any AccountLookup, ownUser: UInt32, superuser: UInt32) {
        self.superuser = superuser
        self.admins = admins
        self.readers = readers
        self.lookup = lookup
        self.ownUser = ownUser
    }

    /// Asks the user database, which may take a while: not for an event loop.
    ///
    /// - Parameter gid: the effective group of the caller's process, which counts beside those in the database.
    public func identify(uid: UInt32, gid: UInt32) -> Identity {
        let account = uid == superuser ? Account(name: "root", groups: []) : lookup.account(uid: uid)
        let name = account?.name ?? "\(uid)"
        if uid == superuser || uid == ownUser { return Identity(name: name, level: .admin) }
        let groups = Set((account?.groups ?? []) + [gid])
        let isMember: ([String]) -> Bool = { list in
            list.contains { matches($0, name: account?.name, uid: uid, groups: groups) }
        }
        if isMember(admins) { return Identity(name: name, level: .admin) }
        return Identity(name: name, level: isMember(readers) ? .reader : .none)
    }

    private func matches(_ entry: String, name: String?, uid: UInt32, groups: Set<UInt32>) -> Bool {
        if entry.hasPrefix("@") {
            let group = String(entry.dropFirst())
            guard let gid = lookup.gid(ofGroup: group) ?? UInt32(group) else { return false }
            return groups.contains(gid)
        }
        return entry == name || UInt32(entry) == uid
    }
}

/// A user, as the user database knows them.
public struct Account: Sendable, Equatable {
    public var name: String
    /// The primary group and the supplementary ones.
    public var groups: [UInt32]

    public init(name: String, groups: [UInt32]) {
        self.name = name
        self.groups = groups
    }
}

/// The user database.
public protocol AccountLookup: Sendable {
    /// nil when there is no such user.
    func account(uid: UInt32) -> Account?
    /// nil when there is no such group.
    func gid(ofGroup name: String) -> UInt32?
}
