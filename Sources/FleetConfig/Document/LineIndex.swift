/// Which key of a document stands on which line, in the order of the document.
///
/// The parser keeps neither the lines nor the order of keys; this does, as a tree of its own. Elements of arrays are
/// entries too, by their number, so that an error in a long list names the line of the element.
struct LineIndex {
    struct Entry {
        /// From 1. Of a table: of its header where it has one, else of the first key that mentions it.
        var line: Int
        /// The line was given by a header or a key of this very entry, not by one that lies within it.
        var isExplicit: Bool
        /// Elements of an array of tables so far.
        var elements = 0
    }

    private struct Child: Hashable {
        var parent: Int
        var key: String
    }

    static let root = 0

    private(set) var entries = [Entry(line: 1, isExplicit: true)]
    private var numbers: [Child: Int] = [:]
    /// Lines that define something again, with the line that had defined it first.
    private(set) var repeated: [Int: Int] = [:]

    /// The number of an entry; numbers grow in the order in which keys first appear.
    func number(of key: String, in parent: Int) -> Int? {
        numbers[Child(parent: parent, key: key)]
    }

    /// Finds or makes an entry for a key that is mentioned on `line`.
    mutating func mention(_ key: String, in parent: Int, line: Int) -> Int {
        let child = Child(parent: parent, key: key)
        if let number = numbers[child] { return number }
        let number = entries.count
        entries.append(Entry(line: line, isExplicit: false))
        numbers[child] = number
        return number
    }

    /// Notes that `line` is where the entry is defined.
    mutating func define(_ number: Int, line: Int) {
        if entries[number].isExplicit {
            repeated[line] = entries[number].line
        } else {
            entries[number].line = line
            entries[number].isExplicit = true
        }
    }

    /// Adds an element to an array of tables.
    mutating func addElement(to number: Int, line: Int) -> Int {
        let element = mention(String(entries[number].elements), in: number, line: line)
        entries[number].elements += 1
        define(element, line: line)
        return element
    }

    /// The table that a header's path goes on from: of an array of tables its last element.
    func current(_ number: Int) -> Int {
        let elements = entries[number].elements
        return elements == 0 ? number : self.number(of: String(elements - 1), in: number) ?? number
    }
}
