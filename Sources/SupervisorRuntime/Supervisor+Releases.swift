import ShimProtocol
public import SupervisorCore

// Which release of each service the host has, and as whom it speaks of them to other hosts.
extension Supervisor {
    /// Who asks the shared store of breakers. After `prepare` its predecessor's leases are this daemon's.
    public var ledgerCaller: LedgerCaller { machine.ledgerCaller }

    /// Before anything is started. A predecessor has left what it knew: that counts until it is looked at anew, since
    /// nobody who takes over may wait for a disk.
    func identifyReleases(for listing: ShimListing) {
        let services = configuration.spec.services
        if listing.memory[MemoryKeys.breakers] != nil || machine.isAdopted {
            releases.identify(services)
        } else {
            receive(.releasesIdentified(releases.identifyNow(services, within: .seconds(1))))
        }
    }

    func identifyReleases(_ names: [String]) {
        releases.identify(names.compactMap { service($0) })
    }
}
