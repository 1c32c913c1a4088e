/// How a release of a service is named: what is known of one release's crashes must not hold back the next.
public enum ReleaseName {
    /// A digest of the arguments and of what the executable holds: 12 hex digits, the same on every host and in every
    /// version of the daemon.
    ///
    /// - Parameter content: a digest of the executable's content; 0 where it cannot be read.
    public static func digest(_ command: [String], content: UInt64 = 0) -> String {
        var hash = Fingerprint()
        for word in command {
            for byte in word.utf8 { hash.add(byte) }
            hash.add(0)
        }
        if content != 0 {
            for shift in stride(from: 0, to: 64, by: 8) { hash.add(UInt8(truncatingIfNeeded: content >> shift)) }
        }
        // Folded by XOR to 48 bits, as the authors of the hash advise.
        let folded = (hash.value >> 48) ^ (hash.value & 0xffff_ffff_ffff)
        let digits = String(folded, radix: 16)
        return String(repeating: "0", count: 12 - digits.count) + digits
    }

    /// What the configuration says, else the digest of the command alone.
    public static func configured(_ service: ServiceSpec) -> String {
        service.release.isEmpty ? digest(service.command) : service.release
    }
}

/// A hash that is the same everywhere; not for secrets.
///
/// Source: FNV-1a, 64 bits (Fowler, Noll and Vo; RFC 9923).
public struct Fingerprint: Sendable, Equatable {
    public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    public init() {}

    /// Takes in one more byte.
    public mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01b3 }
}
