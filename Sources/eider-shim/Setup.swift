import LinuxPlatform
import ShimProtocol
import SupervisorCore

/// The shim's place in the system, prepared before anything is served: at most one per fleet, away from every
/// terminal, parent of all orphans below it, hard to kill.
final class Setup {
    let place: Place
    let fleet: FleetToken
    /// Bound, and not yet listening: the fleet's name is ours from before anything of a former shim is ended.
    let nameSocket: SharedDescriptor?
    /// Given up to accept a connection when no other descriptor can be had. Opened early, since a lowered limit takes
    /// the high numbers first.
    let spare: SpareDescriptor
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

    /// - Parameter place: holds the locks that say that no other shim serves this fleet.
    init(_ place: Place, spare: SpareDescriptor) throws(Place.Refusal) {
        self.place = place
        self.spare = spare
        let tokens = place.tokens()
        fleet = tokens.first
        nameSocket = try place.claimName(of: tokens.first)
        do throws(SystemError) {
            try Signals.ignore(Signals.brokenPipe)
            // Inherited as ignored, the kernel would reap the workers before we hear of them.
            try Signals.restore(Signals.child)
            try Signals.block([.hangup, .interrupt, .quit])
            signals = try SignalDescriptor([Signals.child, .terminate])
            nullDevice = try FileDescriptors.open("/dev/null", flags: 2)
            if !OwnProcess.isSessionLeader { try OwnProcess.newSession() }
            try OwnProcess.becomeSubreaper()
        } catch {
            throw .failed(error)
        }
        let all = [tokens.first] + tokens.former
        ledger = Ledger(in: place.directories, fleet: fleet, former: all)
        OwnProcess.setName("eider-shim")
        originalLimit = try? OwnProcess.raiseDescriptorLimit()
        childOOMScore = Self.becomeHardToKill()
        // The former shim's trees are found where it had them, which may not be where we will have ours.
        containment = Containment.choose(fleet: fleet)
        remains = Remains(fleets: all, ledger: ledger, base: containment.base, notesIn: place.directories).end()
        ledger.begin()
        for directory in place.directories { containment.writeNote(in: directory) }
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
