public import SupervisorCore

// Which release of each service the host has, and as whom it speaks of them to other hosts.
extension Supervisor {
    /// Who asks the shared store of breakers. After `prepare` its predecessor's leases are this daemon's.
    public var ledgerCaller: LedgerCaller { machine.ledgerCaller }

    func identifyReleases(_ names: [String]) {
        releases.identify(names.compactMap { service($0) })
    }
}
