import ShimProtocol
import SupervisorCore
import Testing

@testable import SupervisorRuntime

/// What a start is made of where sockets are passed.
@Suite struct LaunchBuilderTests {
    private let builder = LaunchBuilder(
        SupervisorConfiguration(
            spec: FleetSpec(),
            program: "/eiderd",
            configurationPath: "/eider.toml",
            environment: ["LISTEN_FDS": "7", "LANG": "C"],
            version: "1",
            watchdogInterval: nil
        )
    )

    private func service() -> ServiceSpec {
        var service = ServiceSpec(name: "auth", command: ["/a"])
        service.sockets = ["0.0.0.0:9100", "unix:/run/x.sock"]
        service.passEnvironment = ["LANG"]
        return service
    }

    private static func variables(_ request: LaunchRequest) -> [String] {
        request.environment.filter { $0.hasPrefix("LISTEN_") }
    }

    @Test func aWorkerIsPassedItsSockets() throws {
        let names = service().sockets.map { HeldNames.socket("auth", $0) }
        let request = try builder.request(service(), index: 1, generation: 3, sockets: names)
        #expect(request.sockets == ["socket/auth/0.0.0.0:9100", "socket/auth/unix:/run/x.sock"])
        #expect(
            Self.variables(request) == [
                "LISTEN_FDNAMES=auth:auth", "LISTEN_FDS=2", "LISTEN_PID=\(LaunchRequest.pidPlaceholder)",
            ]
        )
    }

    @Test func anExecProbeIsNot() throws {
        let place = InstanceID(service: "auth", index: 0)
        let request = try builder.probe(service(), index: 0, place, 1, output: "probe/auth")
        #expect(request.sockets.isEmpty && Self.variables(request).isEmpty)
    }

    @Test func aWorkerIsToldTheBreakerSocketAndAnExecProbeIsNot() throws {
        let worker = try builder.request(service(), index: 0, generation: 1)
        #expect(worker.environment.contains { $0.hasPrefix("EIDER_BREAKER_SOCKET=/") && $0.hasSuffix("/breaker") })
        let probe = try builder.probe(service(), index: 0, InstanceID(service: "auth", index: 0), 1, output: "probe/a")
        #expect(!probe.environment.contains { $0.hasPrefix("EIDER_BREAKER_SOCKET=") })
    }

    @Test func aServiceWithoutSocketsHasNoneOfTheirVariables() throws {
        let request = try builder.request(ServiceSpec(name: "auth", command: ["/a"]), index: 0, generation: 1)
        #expect(request.sockets.isEmpty && Self.variables(request).isEmpty)
    }

    @Test(arguments: [
        ("socket/auth/0.0.0.0:9100", "auth", "0.0.0.0:9100", nil),
        ("socket/auth/unix:/run/a/x.sock", "auth", "unix:/run/a/x.sock", "/run/a/x.sock"),
    ])
    func namesAreReadAgain(name: String, service: String, address: String, path: String?) {
        let passed = HeldNames.passed(name)
        #expect(passed?.service == service && passed?.address == address)
        #expect(HeldNames.path(of: name) == path && HeldNames.isListener(name))
        #expect(HeldNames.socket(service, address) == name)
    }

    @Test(arguments: ["socket/", "socket/auth", "health/0.0.0.0:80", "output/auth/0", "notify"])
    func otherNamesAreNoPassedSockets(name: String) {
        #expect(HeldNames.passed(name) == nil && HeldNames.path(of: name) == nil)
    }
}
