/// Finds the word that was probably meant.
enum EditDistance {
    /// The candidate nearest to `word`, when it is near enough to be a slip; the first one of equals.
    static func suggestion(for word: String, among candidates: [String]) -> String? {
        let typed = Array(word.utf8.prefix(64))
        // One slip in three letters; in less than three any word would be near.
        let limit = min(3, typed.count / 3)
        var best: (word: String, distance: Int)?
        for candidate in candidates where !candidate.isEmpty {
            let distance = distance(typed, Array(candidate.utf8))
            if distance <= limit, distance < best?.distance ?? .max { best = (candidate, distance) }
        }
        return best?.word
    }

    /// The optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours, each
    /// counted once (Damerau 1964, in the restricted form that edits no substring twice).
    static func distance(_ left: [UInt8], _ right: [UInt8]) -> Int {
        if left.isEmpty || right.isEmpty { return max(left.count, right.count) }
        var beforeLast: [Int] = []
        var last = Array(0...right.count)
        for row in 1...left.count {
            var current = [row]
            current.reserveCapacity(right.count + 1)
            for column in 1...right.count {
                let cost = left[row - 1] == right[column - 1] ? 0 : 1
                var value = min(last[column] + 1, current[column - 1] + 1, last[column - 1] + cost)
                if row > 1, column > 1, left[row - 1] == right[column - 2], left[row - 2] == right[column - 1] {
                    value = min(value, beforeLast[column - 2] + 1)
                }
                current.append(value)
            }
            beforeLast = last
            last = current
        }
        return last[right.count]
    }
}
