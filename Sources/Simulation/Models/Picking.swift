package import SupervisorCore

extension SeededGenerator {
    /// A number from 0 up to, not including, `bound`. Not quite even for large bounds, which is no matter here.
    package mutating func below(_ bound: Int) -> Int {
        Int(truncatingIfNeeded: next().multipliedFullWidth(by: UInt64(max(1, bound))).high)
    }

    package mutating func chance(_ percent: Int) -> Bool { below(100) < percent }

    /// With a probability of `fraction`.
    package mutating func happens(_ fraction: Double) -> Bool { unit() < fraction }

    package mutating func pick<Element>(_ list: [Element]) -> Element? {
        list.isEmpty ? nil : list[below(list.count)]
    }

    package mutating func pick<Element: FixedWidthInteger>(_ range: ClosedRange<Element>) -> Element {
        range.lowerBound + Element(truncatingIfNeeded: below(Int(range.upperBound - range.lowerBound) + 1))
    }

    /// A duration between two others.
    package mutating func between(_ least: Duration, _ most: Duration) -> Duration {
        let low = least.clampedNanoseconds
        return .nanoseconds(low + Int64(unit() * Double(most.clampedNanoseconds - low)))
    }
}
