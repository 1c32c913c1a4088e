/// `{service}`, `{index}`, `{node}` and `{port}` in commands, environments, working directories and probes.
///
/// Only a plain identifier in braces is a placeholder. `{{port}}` is the text `{port}`; braces around anything else,
/// as in JSON, are left as they are.
public enum Placeholders {
    public static let known = ["service", "index", "node", "port"]

    /// Fills in what is known of one instance. A placeholder without a value, which a validated configuration does
    /// not have, stays as it is.
    public static func expand(_ text: String, service: String, index: Int, node: String, port: Int?) -> String {
        guard text.utf8.contains(UInt8(ascii: "{")) else { return text }
        var result = ""
        for segment in segments(text) {
            switch segment {
            case .text(let text): result += text
            case .placeholder("service"): result += service
            case .placeholder("index"): result += String(index)
            case .placeholder("node"): result += node
            case .placeholder(let name):
                if name == "port", let port { result += String(port) } else { result += "{\(name)}" }
            }
        }
        return result
    }

    enum Segment: Equatable {
        case text(String)
        case placeholder(String)
    }

    /// The names in `text`, in order, each once.
    static func names(in text: String) -> [String] {
        guard text.utf8.contains(UInt8(ascii: "{")) else { return [] }
        var names: [String] = []
        for case .placeholder(let name) in segments(text) where !names.contains(name) { names.append(name) }
        return names
    }

    /// Braces that stand around an identifier count in pairs from within: of every two pairs one is literal, and a
    /// pair left over makes the placeholder. Braces without a partner are literal.
    static func segments(_ text: String) -> [Segment] {
        let bytes = Array(text.utf8)
        var segments: [Segment] = []
        var literal: [UInt8] = []
        var position = 0
        while position < bytes.count {
            let opening = run(of: UInt8(ascii: "{"), in: bytes, from: position)
            guard opening > 0 else {
                literal.append(bytes[position])
                position += 1
                continue
            }
            let start = position + opening
            let end = identifierEnd(bytes, from: start)
            let closing = end > start ? run(of: UInt8(ascii: "}"), in: bytes, from: end) : 0
            let pairs = min(opening, closing)
            guard pairs > 0 else {
                literal += bytes[position..<start]
                position = start
                continue
            }
            literal += repeatElement(UInt8(ascii: "{"), count: opening - pairs + pairs / 2)
            if pairs % 2 == 1 {
                if !literal.isEmpty { segments.append(.text(String(decoding: literal, as: UTF8.self))) }
                segments.append(.placeholder(String(decoding: bytes[start..<end], as: UTF8.self)))
                literal.removeAll()
            } else {
                literal += bytes[start..<end]
            }
            literal += repeatElement(UInt8(ascii: "}"), count: closing - pairs + pairs / 2)
            position = end + closing
        }
        if !literal.isEmpty { segments.append(.text(String(decoding: literal, as: UTF8.self))) }
        return segments
    }

    private static func run(of byte: UInt8, in bytes: [UInt8], from start: Int) -> Int {
        var end = start
        while end < bytes.count, bytes[end] == byte { end += 1 }
        return end - start
    }

    private static func identifierEnd(_ bytes: [UInt8], from start: Int) -> Int {
        var end = start
        while end < bytes.count {
            switch bytes[end] {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"):
                end += 1
            case UInt8(ascii: "0")...UInt8(ascii: "9") where end > start:
                end += 1
            default:
                return end
            }
        }
        return end
    }
}
