import SupervisorCore

extension ValueCodec where Value == Duration {
    /// A duration that is not shorter than `minimum`.
    static func duration(atLeast minimum: Duration = .zero, example: String) -> ValueCodec {
        let wanted = "a duration with a unit (us, ms, s, m, h), such as \"\(example)\""
        return scalar(wanted: wanted, render: { Quoting.string(DurationText.render($0)) }) { value in
            switch value {
            case .integer(let number):
                return .advice("a duration needs a unit, such as \"\(max(0, number))s\"")
            case .string(let text):
                if let duration = DurationText.parse(text) {
                    return duration >= minimum
                        ? .value(duration) : .advice("use at least \"\(DurationText.render(minimum))\"")
                }
                if !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) {
                    return .advice("a duration needs a unit, such as \"\(text)s\"")
                }
                return .unsuitable
            default: return .unsuitable
            }
        }
    }
}
