import Glibc

/// The host's user database, by way of the name service switch.
public struct SystemAccounts: AccountLookup {
    /// Bytes for one entry, and groups of one user.
    private static let entryBytes = 1 << 20
    private static let groups = 4_096

    public init() {}

    public func account(uid: UInt32) -> Account? {
        withBuffer { bytes, count in
            var entry = passwd()
            var found: UnsafeMutablePointer<passwd>?
            guard getpwuid_r(uid, &entry, bytes, count, &found) == 0, found != nil,
                let name = entry.pw_name
            else { return nil }
            return Account(name: String(cString: name), groups: Self.groups(of: name, primary: entry.pw_gid))
        }
    }

    public func gid(ofGroup name: String) -> UInt32? {
        withBuffer { bytes, count in
            var entry = group()
            var found: UnsafeMutablePointer<group>?
            guard getgrnam_r(name, &entry, bytes, count, &found) == 0, found != nil else {
                return nil
            }
            return entry.gr_gid
        }
    }

    private func withBuffer<Value>(_ body: (UnsafeMutablePointer<CChar>, Int) -> Value?) -> Value? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Self.entryBytes) { buffer in
            buffer.baseAddress.flatMap { body($0, buffer.count) }
        }
    }

    private static func groups(of name: UnsafePointer<CChar>, primary: UInt32) -> [UInt32] {
        var list = [UInt32](repeating: 0, count: groups)
        var count = Int32(groups)
        // Answers -1 when there are more than fit; what fits has been filled in then, too.
        _ = getgrouplist(name, primary, &list, &count)
        return Array(list.prefix(max(0, min(Int(count), groups))))
    }
}
