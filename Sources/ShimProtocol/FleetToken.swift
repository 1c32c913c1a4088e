public import SupervisorCore

/// Tells the processes of one fleet from all others: 64 bits, written as 16 hexadecimal digits. The shim marks what it
/// starts with it and listens at `socketName`, so that both are found whatever happens to the runtime directory.
///
/// It is a random number that the shim keeps in the state directory. Where that cannot be written it is a hash of the
/// directory's path. Both sides get it from `candidates`.
public struct FleetToken: Hashable, Sendable, CustomStringConvertible {
    public let value: UInt64

    public init(value: UInt64) {
        self.value = value
    }

    /// The token that a file holds: 16 hexadecimal digits; nil when it holds anything else.
    public init?(kept text: String) {
        let isHexadecimal = text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
        guard text.utf8.count == 16, isHexadecimal, let value = UInt64(text, radix: 16) else { return nil }
        self.value = value
    }

    /// The token where none can be kept. Two containers with the same paths have different pid namespaces, and so
    /// different tokens.
    /// - Parameters:
    ///   - directory: the absolute path of the state directory.
    ///   - namespace: the inode of our pid namespace.
    public init(hashing directory: String, namespace: UInt64) {
        var hash = FNV1a()
        hash.add(directory)
        hash.add(namespace)
        value = hash.value
    }

    /// The tokens that this fleet may have, the one that counts first. The second counted if the state directory could
    /// not be written when the shim began.
    /// - Parameter kept: what the file at `path(in:)` holds; nil when it cannot be read.
    public static func candidates(kept: String?, directory: String, namespace: UInt64) -> [FleetToken] {
        let hashed = FleetToken(hashing: directory, namespace: namespace)
        guard let kept = kept.flatMap({ FleetToken(kept: $0) }), kept != hashed else { return [hashed] }
        return [kept, hashed]
    }

    /// The file that keeps the token.
    public static func path(in stateDirectory: String) -> String { stateDirectory + "/fleet-token" }

    public var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: max(0, 16 - digits.count)) + digits
    }

    /// The shim's second socket, in the abstract namespace: it cannot be deleted.
    public var socketName: String { "@eider-shim-\(self)" }

    /// The variable that marks every process of the fleet.
    public static let variable = "EIDER_TREE"

    /// The value of the mark for one run of an instance.
    public func mark(_ id: InstanceID, _ generation: Generation) -> String {
        "\(self):\(id):\(generation)"
    }
}

/// The FNV-1a hash with 64 bits (Fowler, Noll, Vo; RFC 9923).
public struct FNV1a {
    public private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    public init() {}

    /// Takes the bytes of a text.
    public mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
    }

    /// Takes the eight bytes of a number, the lowest first.
    public mutating func add(_ number: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private mutating func add(_ byte: UInt8) {
        value = (value ^ UInt64(byte)) &* 0x100_0000_01b3
    }
}
