import NIOCore
import StatusBoard
import SupervisorCore

/// Which connections there are. Belongs to the event loop.
final class ConnectionRegister {
    private let limits: ControlLimits
    private var channels: [ObjectIdentifier: any Channel] = [:]
    private var others = 0
    private var identities: [UserKey: (identity: AccessPolicy.Identity, until: NIODeadline)] = [:]

    struct UserKey: Hashable {
        var uid: UInt32
        var gid: UInt32
    }

    init(limits: ControlLimits) {
        self.limits = limits
    }

    /// False when there is no place for one more.
    func add(_ channel: any Channel) -> Bool {
        guard channels.count < limits.connections else { return false }
        channels[ObjectIdentifier(channel)] = channel
        return true
    }

    func remove(_ channel: any Channel) {
        channels[ObjectIdentifier(channel)] = nil
    }

    /// Counts a connection of somebody who is no admin; false when there is no place for one more.
    func addOther() -> Bool {
        guard others < limits.connectionsOfOthers else { return false }
        others += 1
        return true
    }

    func removeOther() {
        others -= 1
    }

    var all: [any Channel] { Array(channels.values) }

    // MARK: Who has been seen

    func identity(_ key: UserKey, at now: NIODeadline) -> AccessPolicy.Identity? {
        guard let known = identities[key], known.until > now else { return nil }
        return known.identity
    }

    func remember(_ identity: AccessPolicy.Identity, _ key: UserKey, at now: NIODeadline) {
        if identities.count >= limits.identities { identities.removeAll() }
        identities[key] = (identity, now + limits.identityAge)
    }
}
