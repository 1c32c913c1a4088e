import SupervisorCore

// Which release of each service the host has.
extension Supervisor {
    func identifyReleases(_ names: [String]) {
        releases.identify(names.compactMap { service($0) })
    }
}
