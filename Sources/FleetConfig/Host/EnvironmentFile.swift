public import SupervisorCore

/// Files of `NAME=value` lines, read as systemd reads its `EnvironmentFile=` (systemd.exec(5)).
public enum EnvironmentFile {
    /// Bytes of one file.
    public static let sizeLimit = 1 << 20

    /// Why a file cannot be used.
    public struct Problem: Error, Sendable, Equatable {
        /// From 1.
        public var line: Int
        /// Only what is wrong. The file holds secrets, and this is shown to whoever asks: nothing of what it says is
        /// quoted, not even what stands for a name, which may be the rest of a value that was broken over two lines.
        public var text: String

        public init(line: Int, text: String) {
            self.line = line
            self.text = text
        }
    }

    /// Reads assignments in order; of two with one name the later one stands where the first did.
    ///
    /// Lines that begin with `#` or `;` and blank lines are skipped. A value may be quoted: within `'…'` everything
    /// is literal, within `"…"` a backslash escapes `"`, `\`, `` ` `` and `$`. Elsewhere a backslash makes the next
    /// character literal, and at the end of a line joins the next line; spaces around the value are dropped.
    public static func parse(_ bytes: [UInt8]) throws(Problem) -> [EnvironmentVariable] {
        if bytes.count > sizeLimit {
            throw Problem(line: 1, text: "cannot use a file of more than \(SizeText.render(UInt64(sizeLimit)))")
        }
        var reader = Reader(bytes: bytes)
        var variables: [EnvironmentVariable] = []
        var places: [String: Int] = [:]
        while let variable = try reader.next() {
            if let place = places[variable.name] {
                variables[place] = variable
            } else {
                places[variable.name] = variables.count
                variables.append(variable)
            }
        }
        return variables
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0
        var line = 1

        private var byte: UInt8? { position < bytes.count ? bytes[position] : nil }

        private static func isBlank(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
        }

        mutating func next() throws(Problem) -> EnvironmentVariable? {
            while let byte {
                if byte == UInt8(ascii: "\n") {
                    position += 1
                    line += 1
                } else if Self.isBlank(byte) {
                    position += 1
                } else if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";") {
                    while let byte = self.byte, byte != UInt8(ascii: "\n") { position += 1 }
                } else {
                    return try assignment()
                }
            }
            return nil
        }

        private mutating func assignment() throws(Problem) -> EnvironmentVariable {
            let start = position
            while let byte, byte != UInt8(ascii: "="), byte != UInt8(ascii: "\n") { position += 1 }
            let words = bytes[start..<position].reversed().drop(while: Self.isBlank).reversed()
            guard byte == UInt8(ascii: "=") else {
                throw Problem(line: line, text: "cannot find a = in this line; write NAME=value")
            }
            let name = String(decoding: Array(words), as: UTF8.self)
            guard ServiceCodecs.isVariableName(name) else {
                let wanted = "letters, digits and _, not beginning with a digit"
                throw Problem(line: line, text: "cannot use what is before the = as a variable's name; use \(wanted)")
            }
            position += 1
            return EnvironmentVariable(name: name, value: try value())
        }

        private mutating func value() throws(Problem) -> String {
            let start = line
            var text: [UInt8] = []
            while let byte, Self.isBlank(byte) { position += 1 }
            // Quoted pieces may follow one another; after the first unquoted character a quote is literal.
            while let quote = byte, quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") {
                position += 1
                try quoted(by: quote, into: &text, start: start)
                while let byte, Self.isBlank(byte) { position += 1 }
            }
            unquoted(into: &text)
            if text.contains(0) { throw Problem(line: start, text: "cannot use a NUL character in a value") }
            guard let value = String(validating: text, as: UTF8.self) else {
                throw Problem(line: start, text: "cannot use a value that is not UTF-8")
            }
            return value
        }

        private mutating func quoted(by quote: UInt8, into text: inout [UInt8], start: Int) throws(Problem) {
            while let byte {
                position += 1
                if byte == quote { return }
                if byte == UInt8(ascii: "\n") { line += 1 }
                guard byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\""), let next = self.byte else {
                    text.append(byte)
                    continue
                }
                switch next {
                case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "`"), UInt8(ascii: "$"):
                    text.append(next)
                    position += 1
                case UInt8(ascii: "\n"):
                    line += 1
                    position += 1
                default: text.append(byte)
                }
            }
            throw Problem(line: start, text: "cannot find the end of the quoted value that begins here")
        }

        private mutating func unquoted(into text: inout [UInt8]) {
            var kept = text.count
            while let byte, byte != UInt8(ascii: "\n") {
                position += 1
                guard byte == UInt8(ascii: "\\") else {
                    text.append(byte)
                    if !Self.isBlank(byte) { kept = text.count }
                    continue
                }
                guard let next = self.byte else { break }
                position += 1
                if next == UInt8(ascii: "\n") {
                    line += 1
                } else {
                    text.append(next)
                    kept = text.count
                }
            }
            text.removeSubrange(kept...)
        }
    }
}
