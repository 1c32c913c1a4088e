/// Values as TOML writes them, for diagnostics and listings.
enum Quoting {
    /// A basic string; characters that would break the line are escaped.
    static func string(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            default:
                if scalar.properties.generalCategory == .control || scalar.value == 0x2028 || scalar.value == 0x2029 {
                    let digits = String(scalar.value, radix: 16, uppercase: true)
                    result += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }

    /// The same, cut to what a diagnostic has room for.
    static func shown(_ text: String) -> String {
        text.unicodeScalars.count <= 80 ? string(text) : string(String(text.unicodeScalars.prefix(80))) + "…"
    }

    /// A key as it stands in a path: bare where TOML allows it.
    static func key(_ key: String) -> String {
        let bare = key.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return bare && !key.isEmpty ? key : shown(key)
    }

    static func path(_ keys: [String]) -> String {
        keys.map(key).joined(separator: ".")
    }

    /// A float without needless digits, but always recognisable as one.
    static func number(_ number: Double) -> String {
        number.description
    }

    /// `a`, `a or b`, `a, b or c`.
    static func alternatives(_ words: [String], _ conjunction: String = "or") -> String {
        guard let last = words.last, words.count > 1 else { return words.first ?? "" }
        return words.dropLast().joined(separator: ", ") + " \(conjunction) " + last
    }
}
