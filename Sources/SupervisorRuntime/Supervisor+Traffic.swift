import StatusBoard
import SupervisorCore

// Connections: asked for by the core during a drain, counted elsewhere.
extension Supervisor {
    /// Asks how many connections there are on the ports of these services; `connectionsCounted` answers.
    func countConnections(_ names: [String]) {
        let targets = names.compactMap { service($0) }.flatMap { $0.trafficTargets(indices: indices(of: $0)) }
        traffic.ask(TrafficCounter.Question(services: names, targets: targets))
    }

    /// Of the instances that there are, those that are to go included.
    private func indices(of service: ServiceSpec) -> [Int] {
        let known = board.snapshot.fleet.services.first { $0.name == service.name }?.instances ?? []
        return Set(known.map(\.id.index)).union(0..<max(0, service.replicas)).sorted()
    }

    func received(_ answer: TrafficCounter.Answer) {
        if let problem = answer.problem, problem != saidTrafficProblem {
            record(subject: nil, kind: "warning", problem)
        }
        saidTrafficProblem = answer.problem
        receive(.connectionsCounted(answer.figures))
    }
}
