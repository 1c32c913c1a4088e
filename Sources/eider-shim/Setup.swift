import LinuxPlatform
import SupervisorCore

/// The shim's place in the system, prepared before anything is served: at most one per runtime directory, away from
/// every terminal, parent of all orphans below it, hard to kill.
final class Setup {
    let runtimeDirectory: String
    let fleet: FleetToken
    let lock: FileLock
    let signals: SignalDescriptor
    /// What children get when their launch says nothing else: our own limit is raised.
    let originalLimit: OwnProcess.DescriptorLimit?
    /// The score of the out-of-memory killer that children get when their launch says nothing else; nil: unchanged.
    let childOOMScore: Int32?
    /// Standard input of all children.
    let nullDevice: Descriptor
    let containment: Containment
    let ledger: Ledger
    /// What a former shim left, and was ended.
    let remains: Remains.Outcome

    /// - Parameter lock: says that no other shim serves this runtime directory.
    init(runtimeDirectory: String, lock: consuming FileLock) throws(SystemError) {
        self.runtimeDirectory = runtimeDirectory
        self.lock = lock
        fleet = try FleetToken(runtimeDirectory: runtimeDirectory)
        try Signals.ignore(Signals.brokenPipe)
        // Inherited as ignored, the kernel would reap the workers before we hear of them.
        try Signals.restore(Signals.child)
        try Signals.block([.hangup, .interrupt, .quit])
        signals = try SignalDescriptor([Signals.child, .terminate])
        nullDevice = try FileDescriptors.open("/dev/null", flags: 2)
        if !OwnProcess.isSessionLeader { try OwnProcess.newSession() }
        try OwnProcess.becomeSubreaper()
        ledger = try Ledger(path: runtimeDirectory + "/shim.ledger", fleet: fleet)
        OwnProcess.setName("eider-shim")
        originalLimit = try? OwnProcess.raiseDescriptorLimit()
        childOOMScore = Self.becomeHardToKill()
        // The former shim's trees are found where it had them, which may not be where we will have ours.
        containment = Containment.choose(fleet: fleet)
        remains = Remains(fleet: fleet, ledger: ledger, base: containment.base, noteIn: runtimeDirectory).end()
        ledger.clear()
        containment.writeNote(in: runtimeDirectory)
    }

    /// Priority and score as far as we may; answers the score that children are to be given.
    private static func becomeHardToKill() -> Int32? {
        // Refused without privileges, which changes nothing but the odds.
        try? OwnProcess.setPriority(-5)
        let before = OwnProcess.oomScoreAdjust()
        try? OwnProcess.setOOMScoreAdjust(-900)
        return OwnProcess.oomScoreAdjust() == before && before == 0 ? nil : 0
    }
}

/// Tells the processes of this fleet from all others: 16 hexadecimal digits that stay the same as long as the runtime
/// directory does, and that two containers with the same paths do not share.
struct FleetToken: Sendable, CustomStringConvertible {
    let value: UInt64
    let description: String

    init(runtimeDirectory: String) throws(SystemError) {
        guard let identity = FileIdentity(path: runtimeDirectory) else {
            throw SystemError(call: "use the runtime directory", errno: 2, path: runtimeDirectory)
        }
        var hash = FNV1a()
        hash.add(runtimeDirectory)
        hash.add(identity.device)
        hash.add(identity.inode)
        value = hash.value
        let digits = String(value, radix: 16)
        description = String(repeating: "0", count: max(0, 16 - digits.count)) + digits
    }

    /// The variable that marks every process of the fleet.
    static let variable = "EIDER_TREE"

    /// The value of the mark for one run of an instance.
    func mark(_ id: InstanceID, _ generation: Generation) -> String {
        "\(description):\(id):\(generation)"
    }
}

/// The FNV-1a hash with 64 bits (Fowler, Noll, Vo; RFC 9923).
struct FNV1a {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
    }

    mutating func add(_ number: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) { add(UInt8(truncatingIfNeeded: number >> UInt64(shift))) }
    }

    private mutating func add(_ byte: UInt8) {
        value = (value ^ UInt64(byte)) &* 0x100_0000_01b3
    }
}
