/// A strict reader of Prometheus' text format 0.0.4: what it lets pass, Prometheus reads as meant.
struct ExpositionChecker {
    struct Sample: Equatable {
        var name: String
        var labels: [String: String]
        var value: Double
    }

    private(set) var samples: [Sample] = []
    private(set) var problems: [String] = []
    private var types: [String: String] = [:]
    private var helped: Set<String> = []
    private var family: String?
    private var finished: Set<String> = []
    private var seen: Set<String> = []

    init(_ bytes: [UInt8]) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            problems.append("not UTF-8")
            return
        }
        if !text.hasSuffix("\n") { problems.append("does not end in a newline") }
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() { read(String(line)) }
    }

    func value(_ name: String, _ labels: [String: String] = [:]) -> Double? {
        samples.first { $0.name == name && $0.labels == labels }?.value
    }

    private mutating func read(_ line: String) {
        if line.hasPrefix("# HELP ") {
            let parts = line.dropFirst(7).split(separator: " ", maxSplits: 1)
            guard parts.count == 2 else { return problems.append("HELP without text: \(line)") }
            if !helped.insert(String(parts[0])).inserted { problems.append("second HELP: \(line)") }
        } else if line.hasPrefix("# TYPE ") {
            let parts = line.dropFirst(7).split(separator: " ").map(String.init)
            guard parts.count == 2, ["counter", "gauge"].contains(parts[1]) else {
                return problems.append("bad TYPE: \(line)")
            }
            if types.updateValue(parts[1], forKey: parts[0]) != nil { problems.append("second TYPE: \(line)") }
            if !helped.contains(parts[0]) { problems.append("TYPE before HELP: \(line)") }
            if (parts[1] == "counter") != parts[0].hasSuffix("_total") { problems.append("misnamed: \(line)") }
            if let family { finished.insert(family) }
            if finished.contains(parts[0]) { problems.append("family in two places: \(line)") }
            family = parts[0]
        } else {
            sample(line)
        }
    }

    private mutating func sample(_ line: String) {
        var rest = Substring(line)
        let name = String(rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == ":" })
        rest = rest.dropFirst(name.count)
        if name.isEmpty || name != family { problems.append("sample outside its family: \(line)") }
        var labels: [String: String] = [:]
        if rest.first == "{" {
            rest = rest.dropFirst()
            while rest.first != "}" {
                guard let (label, value) = Self.label(&rest) else { return problems.append("bad label: \(line)") }
                if labels.updateValue(value, forKey: label) != nil { problems.append("label twice: \(line)") }
            }
            rest = rest.dropFirst()
        }
        guard rest.first == " ", let value = Double(rest.dropFirst()) else {
            return problems.append("bad value: \(line)")
        }
        if !seen.insert(String(line.dropLast(rest.count))).inserted { problems.append("series twice: \(line)") }
        samples.append(Sample(name: name, labels: labels, value: value))
    }

    private static func label(_ rest: inout Substring) -> (String, String)? {
        let name = String(rest.prefix { $0.isASCII && ($0.isLetter || $0 == "_") })
        rest = rest.dropFirst(name.count)
        guard !name.isEmpty, rest.hasPrefix("=\"") else { return nil }
        rest = rest.dropFirst(2)
        var value = ""
        while let character = rest.popFirst() {
            switch character {
            case "\"":
                if rest.first == "," { rest = rest.dropFirst() } else if rest.first != "}" { return nil }
                return (name, value)
            case "\\":
                switch rest.popFirst() {
                case "n": value.append("\n")
                case "\\": value.append("\\")
                case "\"": value.append("\"")
                default: return nil
                }
            default: value.append(character)
            }
        }
        return nil
    }
}
