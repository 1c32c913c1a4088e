import ArgumentParser
import NIOHTTP1

struct Reload: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Read the configuration again; untouched instances are not restarted.",
        discussion: "Exit codes: 0 done, 1 an instance failed, 78 the configuration has errors and is not used."
    )

    @OptionGroup var global: GlobalOptions
    @Flag(name: .customLong("dry-run"), help: "Only print the plan.") var dryRun = false
    @Flag(name: .customLong("no-wait"), help: "Return once the new configuration is in force.") var noWait = false

    func run() throws {
        let query = [("dry_run", dryRun ? "true" : nil), ("wait", noWait ? "false" : nil)]
        let waiting = Waiting(client, "reloading", [], waits: !dryRun && !noWait)
        let answer = try waiting.ask(.POST, URIText.uri("/v1/reload", query))
        try show(answer) { ReloadRenderer(try JSONText.decode(ReloadAnswer.self, $0)).render() }
    }
}

/// A reload's plan for people.
struct ReloadRenderer {
    private let answer: ReloadAnswer

    init(_ answer: ReloadAnswer) {
        self.answer = answer
    }

    func render() -> String {
        let plan = answer.plan
        if plan.steps.isEmpty, plan.inForce.isEmpty, plan.needsDaemonRestart.isEmpty {
            return "nothing is different\n"
        }
        var lines: [String] = []
        let wide = plan.steps.map(\.instance.count).max() ?? 0
        for step in plan.steps {
            let text = Columns.printable(step.reason)
            lines.append("\(Columns.pad(step.action, 8))\(Columns.pad(step.instance, wide))  \(text)")
        }
        let isPlanned = answer.result == "planned"
        if !plan.inForce.isEmpty {
            lines.append(isPlanned ? "without touching any instance:" : "in force, without touching any instance:")
            lines += plan.inForce.map { "  " + $0 }
        }
        if !plan.needsDaemonRestart.isEmpty {
            lines.append("only with a daemon that is started anew (eiderctl upgrade; workers are not touched):")
            lines += plan.needsDaemonRestart.map { "  " + $0 }
        }
        switch answer.result {
        case "planned": lines.append("nothing was changed")
        case "accepted": lines.append("the new configuration is in force; what it touches is under way")
        default: lines.append("reloaded")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}
