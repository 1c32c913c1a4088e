import FleetConfig
import SupervisorCore
import Testing

@Suite struct FleetDiffTests {
    private func fleet(_ change: (inout FleetSpec) -> Void = { _ in }) -> FleetSpec {
        var fleet = FleetSpec()
        fleet.services = [
            ServiceSpec(name: "a", command: ["/a"]), ServiceSpec(name: "b", command: ["/b"]),
            ServiceSpec(name: "c", command: ["/c"]),
        ]
        fleet.dependencies = [DependencySpec(name: "d")]
        change(&fleet)
        return fleet
    }

    @Test func nothingChanged() {
        #expect(FleetDiff(from: fleet(), to: fleet()).isEmpty)
    }

    @Test func addedRemovedAndScaled() {
        let diff = FleetDiff(
            from: fleet(),
            to: fleet {
                $0.services.remove(at: 1)
                $0.services.insert(ServiceSpec(name: "new", command: ["/n"]), at: 0)
                $0.services[1].replicas = 4
            }
        )
        #expect(diff.added == ["new"])
        #expect(diff.removed == ["b"])
        #expect(diff.scaled == [FleetDiff.Scale(service: "a", from: 1, to: 4)])
        #expect(diff.changed.isEmpty)
    }

    @Test func changesNameTheirKeysAndWhetherInstancesMustRestart() {
        let diff = FleetDiff(
            from: fleet(),
            to: fleet {
                $0.services[0].restart.policy = .never
                $0.services[0].stopGracePeriod = .seconds(1)
                $0.services[1].environment = [EnvironmentVariable(name: "A", value: "b")]
                $0.services[1].critical = true
                $0.services[2].credentials = ServiceSpec.Credentials(uid: 1, gid: 1, supplementaryGroups: [])
            }
        )
        #expect(
            diff.changed == [
                change("a", ["restart.policy", "stop.grace_period"], []),
                change("b", ["environment", "critical"], ["environment"]),
                change("c", ["user"], ["user"]),
            ]
        )
        #expect(diff.changed.map(\.needsRestart) == [false, true, true])
    }

    private func change(_ service: String, _ keys: [String], _ restartKeys: [String]) -> FleetDiff.Change {
        FleetDiff.Change(service: service, keys: keys, restartKeys: restartKeys)
    }

    @Test func probesAreCompared() {
        let diff = FleetDiff(
            from: fleet(),
            to: fleet { $0.services[0].readiness = ServiceSpec.Probe(method: .tcp(address: "h:1")) }
        )
        #expect(diff.changed == [change("a", ["readiness.tcp"], [])])
    }

    @Test func fleetAndDependencies() {
        let diff = FleetDiff(
            from: fleet(),
            to: fleet {
                $0.limits.concurrentStarts = 9
                $0.health.listen = []
                $0.dependencies = [DependencySpec(name: "e")]
            }
        )
        #expect(
            diff.fleet == [
                FleetDiff.FleetChange(key: "health.listen", needsDaemonRestart: true),
                FleetDiff.FleetChange(key: "limits.concurrent_starts", needsDaemonRestart: false),
            ]
        )
        #expect(diff.dependencies == ["d", "e"])
    }
}
