public import SupervisorCore

/// How breakers are named (INTERFACE.md §1).
public enum BreakerName {
    /// `service:NAME@RELEASE`: what is known of one release's crashes must not hold back the next.
    public static func service(_ service: ServiceSpec) -> String {
        "service:\(service.name)@\(release(of: service))"
    }

    /// `release` where the configuration sets it, else a digest of the executable's path and the arguments, as they
    /// stand in the configuration: 12 hex digits, the same on every host and in every version of the daemon.
    ///
    /// The digest of the executable's content, by which a program replaced in place counts as a release of its own,
    /// comes with the breakers themselves.
    public static func release(of service: ServiceSpec) -> String {
        service.release.isEmpty ? digest(service.command) : service.release
    }

    /// Source: FNV-1a, 64 bits (Fowler, Noll and Vo; RFC 9923), folded by XOR to 48 bits as its authors advise. A zero
    /// byte, which no argument can hold, ends each word.
    private static func digest(_ words: [String]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for word in words {
            for byte in word.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            hash = hash &* 0x100_0000_01b3
        }
        let folded = (hash >> 48) ^ (hash & 0xffff_ffff_ffff)
        let digits = String(folded, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }
}
