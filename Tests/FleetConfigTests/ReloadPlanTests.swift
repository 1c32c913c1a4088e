import FleetConfig
import SupervisorCore
import Testing

/// What a reload does, with a reason for each instance that it touches.
@Suite struct ReloadPlanTests {
    private static func fleet(_ change: (inout FleetSpec) -> Void = { _ in }) -> FleetSpec {
        var fleet = FleetSpec()
        fleet.services = ["a", "b", "c"].map { ServiceSpec(name: $0, command: ["/\($0)"]) }
        fleet.services[0].replicas = 2
        change(&fleet)
        return fleet
    }

    private static let running = ["a": 2, "b": 1, "c": 1]

    /// `restart a/0: changed: command`, one a line.
    private static func steps(
        _ running: [String: Int] = running,
        _ change: (inout FleetSpec) -> Void
    ) -> [String] {
        ReloadPlan(from: fleet(), to: fleet(change), running: running).steps.map {
            "\($0.action.rawValue) \($0.instance): \($0.reason)"
        }
    }

    @Test func nothingIsDifferent() {
        let plan = ReloadPlan(from: Self.fleet(), to: Self.fleet(), running: Self.running)
        #expect(plan.isEmpty)
        // Neither where an operator has scaled: the configuration still says the same.
        #expect(ReloadPlan(from: Self.fleet(), to: Self.fleet(), running: ["a": 5, "b": 0, "c": 1]).isEmpty)
    }

    @Test func servicesComeAndGo() {
        let steps = Self.steps { fleet in
            fleet.services.remove(at: 1)
            var new = ServiceSpec(name: "new", command: ["/n"])
            new.replicas = 2
            fleet.services.insert(new, at: 0)
        }
        #expect(
            steps == [
                "start new/0: the service is new", "start new/1: the service is new",
                "stop b/0: the configuration names it no more",
            ]
        )
    }

    @Test func whatRunsOfARemovedServiceIsStopped() {
        let remove: (inout FleetSpec) -> Void = { $0.services.removeFirst() }
        #expect(
            Self.steps(["a": 3, "b": 1, "c": 1], remove).map { $0.prefix(8) } == ["stop a/0", "stop a/1", "stop a/2"]
        )
        #expect(Self.steps(["a": 0, "b": 1, "c": 1], remove).isEmpty)
        // A service that is not known to run has nothing to stop.
        #expect(Self.steps([:], remove).isEmpty)
    }

    @Test func replicasInTheFileCount() {
        let more: (inout FleetSpec) -> Void = { $0.services[0].replicas = 4 }
        #expect(Self.steps(Self.running, more) == ["start a/2: replicas 2 → 4", "start a/3: replicas 2 → 4"])
        #expect(Self.steps { $0.services[0].replicas = 1 } == ["stop a/1: replicas 2 → 1"])
        #expect(Self.steps { $0.services[0].replicas = 0 }.count == 2)
        // From what an operator had scaled it to.
        #expect(Self.steps(["a": 3, "b": 1, "c": 1], more) == ["start a/3: replicas 3 → 4"])
        #expect(
            Self.steps(["a": 6, "b": 1, "c": 1], more) == ["stop a/4: replicas 6 → 4", "stop a/5: replicas 6 → 4"]
        )
        #expect(Self.steps(["a": 4, "b": 1, "c": 1], more).isEmpty)
    }

    @Test func aScaleByHandOutlivesAReload() {
        // The command is another, the number of instances is the operator's.
        let steps = Self.steps(["a": 4, "b": 1, "c": 1]) { $0.services[0].command = ["/a2"] }
        #expect(steps == (0..<4).map { "restart a/\($0): changed: command" })
        #expect(Self.steps(["a": 0, "b": 1, "c": 1]) { $0.services[0].command = ["/a2"] }.isEmpty)
    }

    @Test func whatIsScaledDownIsStoppedAndNotRestarted() {
        let steps = Self.steps(["a": 3, "b": 1, "c": 1]) { fleet in
            fleet.services[0].command = ["/a2"]
            fleet.services[0].replicas = 1
        }
        #expect(
            steps == ["restart a/0: changed: command", "stop a/1: replicas 3 → 1", "stop a/2: replicas 3 → 1"]
        )
        let more = Self.steps { fleet in
            fleet.services[0].command = ["/a2"]
            fleet.services[0].replicas = 3
        }
        #expect(
            more == [
                "restart a/0: changed: command", "restart a/1: changed: command", "start a/2: replicas 2 → 3",
            ]
        )
    }

    @Test func onlyKeysThatAProcessSeesRestartIt() {
        let plan = ReloadPlan(
            from: Self.fleet(),
            to: Self.fleet { fleet in
                fleet.services[0].restart.policy = .never
                fleet.services[1].environment = [EnvironmentVariable(name: "A", value: "b")]
                fleet.services[1].workingDirectory = "/srv"
                fleet.services[1].critical = true
            },
            running: Self.running
        )
        #expect(plan.steps.map(\.instance.description) == ["b/0"])
        #expect(plan.steps.map(\.action) == [.restart])
        #expect(plan.steps.first?.reason.contains("environment") == true)
        #expect(plan.steps.first?.reason.contains("working_directory") == true)
        #expect(plan.steps.first?.reason.contains("critical") == false)
        #expect(plan.inForce == ["services.a.restart.policy", "services.b.critical"])
        #expect(plan.needsDaemonRestart.isEmpty)
    }

    @Test func keysOfTheFleetTouchNoInstance() {
        let plan = ReloadPlan(
            from: Self.fleet(),
            to: Self.fleet { fleet in
                fleet.drain.deadline = .seconds(7)
                fleet.limits.concurrentStarts = 9
                fleet.control.admins = ["root"]
                fleet.health.listen = []
                fleet.node.stateDirectory = "/srv/eider"
                fleet.dependencies = [DependencySpec(name: "d")]
            },
            running: Self.running
        )
        #expect(plan.steps.isEmpty)
        #expect(plan.needsDaemonRestart == ["node.state_directory", "health.listen"])
        #expect(
            plan.inForce == ["control.admins", "limits.concurrent_starts", "drain.deadline", "dependencies.d"]
        )
        #expect(!plan.isEmpty)
    }

    @Test func theDiffNamesWhatRollsAndWhy() {
        let diff = FleetDiff(
            from: Self.fleet(),
            to: Self.fleet { fleet in
                fleet.services[0].command = ["/a2"]
                fleet.services[1].critical = true
            }
        )
        #expect(diff.restarting == ["a": "command"])
    }
}
