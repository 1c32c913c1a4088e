/// Writes Prometheus' text exposition format, version 0.0.4.
///
/// Source: prometheus.io/docs/instrumenting/exposition_formats. `HELP` and `TYPE` stand before a family's samples,
/// each family is written at once, and the text ends in a newline.
struct ExpositionWriter {
    enum Kind: String { case counter, gauge }

    private(set) var bytes: [UInt8] = []
    private var family = ""

    /// Begins a family. Its samples follow.
    mutating func family(_ name: String, _ kind: Kind, _ help: String) {
        family = name
        append("# HELP ")
        append(name)
        append(" ")
        escape(help, quotes: false)
        append("\n# TYPE ")
        append(name)
        append(" ")
        append(kind.rawValue)
        append("\n")
    }

    mutating func sample(_ labels: [(String, String)], _ value: some BinaryInteger) {
        sample(labels, text: "\(value)")
    }

    mutating func sample(_ labels: [(String, String)], _ value: Double) {
        sample(labels, text: Self.text(of: value))
    }

    mutating func sample(_ labels: [(String, String)], _ value: Bool) {
        sample(labels, text: value ? "1" : "0")
    }

    private mutating func sample(_ labels: [(String, String)], text: String) {
        append(family)
        if !labels.isEmpty {
            var separator = "{"
            for (name, value) in labels {
                append(separator)
                append(name)
                append("=\"")
                escape(value, quotes: true)
                append("\"")
                separator = ","
            }
            append("}")
        }
        append(" ")
        append(text)
        append("\n")
    }

    private mutating func append(_ text: String) {
        bytes.append(contentsOf: text.utf8)
    }

    private mutating func escape(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: bytes.append(byte)
            }
        }
    }

    /// A number as Go's `ParseFloat` reads it, which is what Prometheus does.
    private static func text(of value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if let whole = Int64(exactly: value) { return "\(whole)" }
        return "\(value)"
    }
}
