import SupervisorCore

/// `after` must name services that exist, and may not lead in a circle.
enum StartOrder {
    static func check(_ services: [DecodedService], _ problems: inout Problems) {
        var numbers: [String: Int] = [:]
        for (number, service) in services.enumerated() { numbers[service.name] = number }
        var edges: [[Int]] = []
        for service in services {
            for name in service.draft.spec.after where numbers[name] == nil {
                let text = "cannot start after \(Quoting.shown(name)), which is not a service; "
                let suggestion = EditDistance.suggestion(for: name, among: services.map(\.name))
                let advice = suggestion.map { "did you mean \"\($0)\"?" } ?? "define it or remove the name"
                problems.add(service.path + ["after"], text + advice, at: location(of: name, in: service))
            }
            edges.append(service.draft.spec.after.compactMap { numbers[$0] })
        }
        for cycle in cycles(edges) {
            guard let first = cycle.first, cycle.count > 1 else { continue }
            // A circle of thousands is shown by its ends.
            let names = cycle.map { services[$0].name }
            let shown = names.count > 20 ? Array(names.prefix(10)) + ["…"] + names.suffix(10) : names
            let text = "cannot start in a circle: \(shown.joined(separator: " after ")); remove one of them"
            let location = location(of: names[1], in: services[first])
            problems.add(services[first].path + ["after"], text, at: location)
        }
    }

    private static func location(of name: String, in service: DecodedService) -> SourceLocation {
        if case .array(let elements)? = service.table["after"]?.value {
            for element in elements {
                if case .string(name) = element.value { return element.location }
            }
        }
        return service.table.location(of: ["after"])
    }

    /// Circles of a directed graph, each as its nodes in order with the first one again at the end: one circle for
    /// each edge that closes one in a depth-first search. The search keeps its own stack, since a chain may be long.
    static func cycles(_ edges: [[Int]]) -> [[Int]] {
        enum Mark { case new, open, done }
        var marks = [Mark](repeating: .new, count: edges.count)
        var cycles: [[Int]] = []
        for root in edges.indices where marks[root] == .new {
            var stack = [(node: root, next: 0)]
            marks[root] = .open
            while let (node, next) = stack.last {
                guard next < edges[node].count else {
                    marks[node] = .done
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].next += 1
                let target = edges[node][next]
                switch marks[target] {
                case .new:
                    marks[target] = .open
                    stack.append((target, 0))
                case .open:
                    if cycles.count == ConfigurationErrors.limit { return cycles }
                    let start = stack.firstIndex { $0.node == target } ?? 0
                    cycles.append(stack[start...].map(\.node) + [target])
                case .done: break
                }
            }
        }
        return cycles
    }
}
