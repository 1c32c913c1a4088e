import FleetConfig
import SupervisorCore
import Testing

/// The file that is installed as `/etc/eider/eider.toml`.
@Suite struct ExampleTests {
    private static let path: String = {
        let folders = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3)
        return folders.joined(separator: "/") + "/Config/eider.toml"
    }()

    @Test func loadsWithoutAWarning() throws {
        let configuration = try ConfigurationLoader.load(path: Self.path).get()
        #expect(configuration.warnings.isEmpty)
        let services = configuration.spec.services
        #expect(services.count == 23)
        #expect(services.reduce(0) { $0 + $1.replicas } == 45)
        #expect(services.filter { $0.replicas != 2 }.map(\.name) == ["http-nats-gateway"])
        #expect(services.filter(\.critical).map(\.name) == ["http-nats-gateway"])
        #expect(services.allSatisfy { $0.kind == .notify && $0.liveness.watchdog != nil && $0.portBase != nil })
        // It must run as it is on a host without cgroup controllers and without users of its own.
        #expect(services.allSatisfy { $0.user == nil && $0.group == nil && $0.resources.memoryMax == nil })
    }

    @Test func itsFleetTablesAreTheContractsDefaults() throws {
        var spec = try ConfigurationLoader.load(path: Self.path).get().spec
        spec.services = []
        spec.node.name = FleetSpec().node.name
        #expect(spec == FleetSpec())
    }
}
