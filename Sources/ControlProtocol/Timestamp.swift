/// Wall-clock times for people: RFC 3339 in UTC, milliseconds.
public enum Timestamp {
    /// `2026-11-21T08:13:44.120Z` for nanoseconds since 1970.
    public static func rfc3339(_ nanoseconds: Int64) -> String {
        let seconds = nanoseconds.floorDivided(by: 1_000_000_000)
        let milliseconds = (nanoseconds &- seconds &* 1_000_000_000) / 1_000_000
        let days = seconds.floorDivided(by: 86_400)
        let rest = seconds &- days &* 86_400
        let (year, month, day) = civil(days: days)
        return padded(year, 4) + "-" + padded(month, 2) + "-" + padded(day, 2) + "T" + padded(rest / 3600, 2) + ":"
            + padded(rest / 60 % 60, 2) + ":" + padded(rest % 60, 2) + "." + padded(milliseconds, 3) + "Z"
    }

    /// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    static func civil(days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days &+ 719_468
        let era = shifted.floorDivided(by: 146_097)
        let dayOfEra = shifted &- era &* 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static func padded(_ value: Int64, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}

extension Int64 {
    fileprivate func floorDivided(by divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }
}
