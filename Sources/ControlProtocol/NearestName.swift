/// Finds what somebody probably meant.
public enum NearestName {
    /// The candidate that is fewest edits away, when that is few enough to be a slip: a third of its length.
    public static func find(_ name: String, among candidates: [String]) -> String? {
        // The work is length × length for each candidate.
        let wanted = Array(name.unicodeScalars.prefix(64))
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let letters = Array(candidate.unicodeScalars.prefix(64))
            let distance = distance(wanted, letters)
            let limit = max(1, max(letters.count, wanted.count) / 3)
            if distance <= limit, distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        return best?.name
    }

    /// Insertions, deletions, replacements and swaps of neighbours that turn one into the other.
    ///
    /// Source: optimal string alignment distance (Damerau 1964, as in Navarro, "A guided tour to approximate string
    /// matching", 2001), by dynamic programming over three rows.
    static func distance(_ left: [Unicode.Scalar], _ right: [Unicode.Scalar]) -> Int {
        if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in 1...left.count {
            var current = [row] + Array(repeating: 0, count: right.count)
            for column in 1...right.count {
                let same = left[row - 1] == right[column - 1]
                var cost = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + (same ? 0 : 1))
                if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
                    cost = min(cost, beforeLast[column - 2] + 1)
                }
                current[column] = cost
            }
            (beforeLast, last) = (last, current)
        }
        return last[right.count]
    }
}
