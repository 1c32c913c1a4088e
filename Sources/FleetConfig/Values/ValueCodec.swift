/// How one kind of value is read from a configuration and shown again.
struct ValueCodec<Value: Equatable & Sendable>: Sendable {
    /// Reads a value; what is wrong goes to `Problems`, and nil comes back.
    var decode: @Sendable (ConfigurationNode, inout Problems) -> Value?
    /// The value as TOML would write it.
    var render: @Sendable (Value) -> String

    /// What reading one value came to.
    enum Reading {
        case value(Value)
        /// It is not what is wanted; the general advice applies.
        case unsuitable
        /// It is not what is wanted, and there is something particular to say after "use".
        case advice(String)
    }

    /// A value that is read in one piece. `wanted` stands after "use" when it is something else.
    static func scalar(
        wanted: String,
        render: @escaping @Sendable (Value) -> String,
        read: @escaping @Sendable (ConfigurationValue) -> Reading
    ) -> ValueCodec {
        ValueCodec(
            decode: { node, problems in
                switch read(node.value) {
                case .value(let value): return value
                case .unsuitable: problems.report("cannot use \(node.value.shown); use \(wanted)", at: node.location)
                case .advice(let text): problems.report("cannot use \(node.value.shown); \(text)", at: node.location)
                }
                return nil
            },
            render: render
        )
    }

    /// The same value where none is possible too; `none` is what a listing shows then.
    func optional(none: String) -> ValueCodec<Value?> {
        ValueCodec<Value?>(
            decode: { node, problems in decode(node, &problems).map { .some($0) } },
            render: { value in value.map(render) ?? none }
        )
    }

    /// An array of such values. Each element that is wrong is named on its own line.
    func list(example: String) -> ValueCodec<[Value]> {
        ValueCodec<[Value]>(
            decode: { node, problems in
                guard case .array(let elements) = node.value else {
                    let text = "cannot use \(node.value.shown); use an array, such as \(example)"
                    problems.report(text, at: node.location)
                    return nil
                }
                var values: [Value] = []
                values.reserveCapacity(elements.count)
                for element in elements {
                    var element = element
                    element.location.inherited = node.location.inherited
                    if let value = decode(element, &problems) { values.append(value) }
                }
                return values.count == elements.count ? values : nil
            },
            render: { "[" + $0.map(render).joined(separator: ", ") + "]" }
        )
    }

    /// The same value with one more condition. `check` answers what to say after "use" when it is not met.
    func checked(_ check: @escaping @Sendable (Value) -> String?) -> ValueCodec {
        ValueCodec(
            decode: { node, problems in
                guard let value = decode(node, &problems) else { return nil }
                guard let wanted = check(value) else { return value }
                problems.report("cannot use \(node.value.shown); use \(wanted)", at: node.location)
                return nil
            },
            render: render
        )
    }
}

extension ValueCodec where Value == Bool {
    static let boolean = ValueCodec.scalar(wanted: "true or false", render: { String($0) }) { value in
        if case .boolean(let flag) = value { .value(flag) } else { .unsuitable }
    }
}

extension ValueCodec where Value: FixedWidthInteger {
    static func integer(_ range: ClosedRange<Value>, example: Value) -> ValueCodec {
        let wanted = "a whole number from \(range.lowerBound) to \(range.upperBound), such as \(example)"
        return scalar(wanted: wanted, render: { String($0) }) { value in
            guard case .integer(let number) = value, let exact = Value(exactly: number), range.contains(exact)
            else { return .unsuitable }
            return .value(exact)
        }
    }
}

extension ValueCodec where Value == Double {
    static func number(_ range: ClosedRange<Double>, example: Double) -> ValueCodec {
        let bounds =
            range.upperBound == .greatestFiniteMagnitude
            ? "from \(range.lowerBound) on" : "from \(range.lowerBound) to \(range.upperBound)"
        return scalar(wanted: "a number \(bounds), such as \(example)", render: Quoting.number) { value in
            let number: Double
            switch value {
            case .float(let float): number = float
            case .integer(let integer): number = Double(integer)
            default: return .unsuitable
            }
            return number.isFinite && range.contains(number) ? .value(number) : .unsuitable
        }
    }

    /// 0 to 100.
    static let percentage = scalar(wanted: "a percentage from 0 to 100, such as 50", render: Quoting.number) { value in
        switch value {
        case .float(let float) where (0...100).contains(float): .value(float)
        case .integer(let integer) where (0...100).contains(integer): .value(Double(integer))
        default: .unsuitable
        }
    }
}

extension ValueCodec where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of a few words.
    static var choice: ValueCodec {
        let words = Quoting.alternatives(Value.allCases.map(\.rawValue))
        return scalar(wanted: words, render: { Quoting.string($0.rawValue) }) { value in
            guard case .string(let text) = value, let choice = Value(rawValue: text) else { return .unsuitable }
            return .value(choice)
        }
    }
}

extension ValueCodec where Value == String {
    /// Any text that `accepts` takes.
    static func text(
        wanted: String,
        where accepts: @escaping @Sendable (String) -> Bool = { _ in true }
    ) -> ValueCodec {
        scalar(wanted: wanted, render: Quoting.string) { value in
            guard case .string(let text) = value, accepts(text) else { return .unsuitable }
            return .value(text)
        }
    }

    /// A path from the root.
    static func absolutePath(example: String, maximumBytes: Int = 4095, orEmpty: Bool = false) -> ValueCodec {
        let wanted = "an absolute path" + (orEmpty ? " or \"\"" : "") + ", such as \(Quoting.string(example))"
        return scalar(wanted: wanted, render: Quoting.string) { value in
            guard case .string(let text) = value else { return .unsuitable }
            if text.isEmpty, orEmpty { return .value(text) }
            guard text.hasPrefix("/") else { return .unsuitable }
            if text.utf8.count > maximumBytes {
                return .advice("it has \(text.utf8.count) bytes and may have \(maximumBytes)")
            }
            return .value(text)
        }
    }
}
