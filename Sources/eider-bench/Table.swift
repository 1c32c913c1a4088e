/// Figures beside their targets.
struct Table {
    struct Row {
        var name: String
        var unit: String
        /// nil where it could not be measured.
        var value: Double?
        /// At most this; nil where there is none.
        var target: Double?
        var note = ""

        var verdict: String {
            guard let value else { return "not measured" }
            guard let target else { return "" }
            return value <= target ? "met" : "MISSED"
        }
    }

    var rows: [Row] = []
    var isMissing: Bool { rows.contains { $0.value == nil } }

    mutating func add(_ name: String, _ value: Double?, _ unit: String, target: Double? = nil, _ note: String = "") {
        rows.append(Row(name: name, unit: unit, value: value, target: target, note: note))
    }

    /// Two percentiles of one series.
    mutating func add(_ name: String, _ series: Series, _ unit: String, p50: Double? = nil, p99: Double? = nil) {
        add(name + ", p50", series.percentile(50), unit, target: p50)
        add(name + ", p99", series.percentile(99), unit, target: p99)
    }

    var text: String {
        let lines = rows.map { row in
            let value = row.value.map { Self.rounded($0) } ?? "-"
            let target = row.target.map { "<= " + Self.rounded($0) } ?? ""
            return Self.pad(row.name, 52) + Self.pad(value, 10, right: true) + " " + Self.pad(row.unit, 6)
                + Self.pad(target, 10, right: true) + "  " + row.verdict + (row.note.isEmpty ? "" : "  " + row.note)
        }
        return lines.joined(separator: "\n")
    }

    var json: String {
        let entries = rows.map { row in
            let value = row.value.map { Self.rounded($0) } ?? "null"
            let target = row.target.map { Self.rounded($0) } ?? "null"
            return "{\"name\":\"\(row.name)\",\"unit\":\"\(row.unit)\",\"value\":\(value),\"target\":\(target)}"
        }
        return "{\"figures\":[\(entries.joined(separator: ","))]}"
    }

    private static func pad(_ text: String, _ width: Int, right: Bool = false) -> String {
        let fill = String(repeating: " ", count: max(0, width - text.count))
        return right ? fill + text : text + fill
    }

    private static func rounded(_ value: Double) -> String {
        value == value.rounded() ? String(Int(value)) : String((value * 10).rounded() / 10)
    }
}

/// Durations of many rounds, nanoseconds each.
struct Series {
    private let sorted: [Double]

    init(_ values: [Double]) {
        sorted = values.sorted()
    }

    func percentile(_ percent: Int) -> Double? {
        sorted.isEmpty ? nil : sorted[min(sorted.count - 1, sorted.count * percent / 100)]
    }

    func scaled(by factor: Double) -> Series { Series(sorted.map { $0 * factor }) }
}
