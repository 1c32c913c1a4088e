/// A table with a header; the last column takes what is left and is clipped.
struct Table {
    struct Column {
        var title: String
        var right = false
        /// Columns it takes at most.
        var limit = 24

        init(_ title: String, right: Bool = false, limit: Int = 24) {
            self.title = title
            self.right = right
            self.limit = limit
        }
    }

    let columns: [Column]
    private(set) var rows: [[String]] = []
    /// Index of the column that shows a state, in its colour.
    var stateColumn: Int?

    init(_ columns: [Column], stateColumn: Int? = nil) {
        self.columns = columns
        self.stateColumn = stateColumn
    }

    mutating func add(_ cells: [String]) {
        rows.append(cells.map { Columns.printable($0) })
    }

    func render(width: Int, _ style: Style) -> String {
        let widths = columns.indices.map { index in
            min(
                columns[index].limit,
                rows.reduce(columns[index].title.count) { max($0, index < $1.count ? $1[index].count : 0) }
            )
        }
        var text = line(columns.map(\.title), widths, width) { style.dim($1) } + "\n"
        for row in rows {
            text += line(row, widths, width) { index, cell in
                index == stateColumn ? style.state(row[index], cell) : cell
            }
            text += "\n"
        }
        return text
    }

    private func line(
        _ cells: [String],
        _ widths: [Int],
        _ width: Int,
        _ paint: (Int, String) -> String
    ) -> String {
        var used = 0
        var parts: [String] = []
        for index in columns.indices {
            let isLast = index == columns.count - 1
            let cell = index < cells.count ? cells[index] : ""
            let room = isLast ? max(8, width - used) : widths[index]
            let clipped = Columns.clip(cell, room)
            let padded: String
            if isLast {
                padded = clipped
            } else {
                padded = columns[index].right ? Columns.padLeft(clipped, room) : Columns.pad(clipped, room)
            }
            // The spaces stay outside the colour, so that nothing is left at the end of a line.
            let bare = paint(index, clipped)
            parts.append(padded.isEmpty ? "" : padded.replacingOnce(clipped, with: bare))
            used += room + 2
        }
        var text = parts.joined(separator: "  ")
        while text.last == " " { text.removeLast() }
        return text
    }
}

extension String {
    fileprivate func replacingOnce(_ part: String, with other: String) -> String {
        guard !part.isEmpty, let range = firstRange(of: part) else { return self }
        return self[..<range.lowerBound] + other + self[range.upperBound...]
    }
}
