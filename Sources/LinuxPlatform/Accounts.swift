import Glibc
public import SupervisorCore

/// Users and groups of this host. These calls may read files and ask directory services: not for the hot path.
public enum Accounts {
    public struct User: Hashable, Sendable {
        public var name: String
        public var uid: UInt32
        /// The primary group.
        public var gid: UInt32
        public var home: String
    }

    private static let largestBuffer = 1 << 20

    /// The user of this name or number; nil when there is none.
    public static func user(_ name: String) throws(SystemError) -> User? {
        let byName = try lookUpUser(name) { getpwnam_r(name, $0, $1, $2, $3) }
        if let byName { return byName }
        guard let uid = UInt32(name) else { return nil }
        return try user(uid: uid) ?? User(name: name, uid: uid, gid: uid, home: "/")
    }

    public static func user(uid: UInt32) throws(SystemError) -> User? {
        try lookUpUser(String(uid)) { getpwuid_r(uid, $0, $1, $2, $3) }
    }

    /// The user's name, or the number where it has none.
    public static func name(ofUser uid: UInt32) -> String {
        ((try? user(uid: uid)) ?? nil)?.name ?? String(uid)
    }

    /// The group of this name or number; nil when there is none.
    public static func group(_ name: String) throws(SystemError) -> UInt32? {
        var size = 1024
        while true {
            var record = Glibc.group()
            var found: UnsafeMutablePointer<Glibc.group>?
            var buffer = [CChar](repeating: 0, count: size)
            let result = getgrnam_r(name, &record, &buffer, size, &found)
            if result == ERANGE, size < largestBuffer {
                size *= 2
                continue
            }
            if result == EINTR { continue }
            if found != nil { return record.gr_gid }
            if let number = UInt32(name) { return number }
            if isNothing(result) { return nil }
            throw SystemError(call: "look up the group", errno: result, path: name)
        }
    }

    /// All groups of a user, the given primary one included.
    public static func groups(ofUser name: String, primary: UInt32) -> [UInt32] {
        var capacity: Int32 = 64
        // The list may grow between two calls; ten doublings are more than the kernel's 65,536.
        for _ in 0..<12 {
            var groups = [gid_t](repeating: 0, count: Int(capacity))
            var count = capacity
            if getgrouplist(name, primary, &groups, &count) >= 0 {
                return Array(groups.prefix(Int(max(0, count))))
            }
            capacity = max(count, capacity &* 2)
            if capacity > 131_072 { break }
        }
        return [primary]
    }

    /// Whether a user belongs to a group, as primary or supplementary one.
    public static func isUser(_ uid: UInt32, inGroup gid: UInt32) -> Bool {
        guard let user = (try? user(uid: uid)) ?? nil else { return false }
        return user.gid == gid || groups(ofUser: user.name, primary: user.gid).contains(gid)
    }

    /// The numeric identity of a user, with its primary group or the one given, and all its groups.
    ///
    /// - Returns: nil when there is no such user or group.
    public static func credentials(user name: String, group: String?) throws(SystemError) -> ServiceSpec.Credentials? {
        guard let found = try user(name) else { return nil }
        var gid = found.gid
        if let group {
            guard let number = try self.group(group) else { return nil }
            gid = number
        }
        return ServiceSpec.Credentials(
            uid: found.uid,
            gid: gid,
            supplementaryGroups: groups(ofUser: found.name, primary: gid)
        )
    }

    public static var ownUserID: UInt32 { geteuid() }
    public static var ownGroupID: UInt32 { getegid() }

    /// What the calls answer for "no such entry", by the manual: 0, or one of these, by implementation.
    private static func isNothing(_ result: Int32) -> Bool {
        [0, ENOENT, ESRCH, EBADF, EPERM].contains(result)
    }

    private typealias Lookup = (
        UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
        UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
    ) -> Int32

    private static func lookUpUser(_ label: String, _ call: Lookup) throws(SystemError) -> User? {
        var size = 1024
        while true {
            var record = passwd()
            var found: UnsafeMutablePointer<passwd>?
            var buffer = [CChar](repeating: 0, count: size)
            let answer: (Int32, User?) = buffer.withUnsafeMutableBufferPointer { bytes in
                guard let start = bytes.baseAddress else { return (ENOMEM, nil) }
                let result = call(&record, start, size, &found)
                guard result == 0, found != nil else { return (result, nil) }
                let name = record.pw_name.map { String(cString: $0) } ?? label
                let home = record.pw_dir.map { String(cString: $0) } ?? "/"
                return (0, User(name: name, uid: record.pw_uid, gid: record.pw_gid, home: home))
            }
            if let user = answer.1 { return user }
            if answer.0 == ERANGE, size < largestBuffer {
                size *= 2
                continue
            }
            if answer.0 == EINTR { continue }
            if isNothing(answer.0) { return nil }
            throw SystemError(call: "look up the user", errno: answer.0, path: label)
        }
    }
}
