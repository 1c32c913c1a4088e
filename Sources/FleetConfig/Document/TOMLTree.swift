/// The tables of a document while it is read, with what TOML says of who may add to which.
///
/// All nodes lie in one array and all keys in one dictionary, so that a table of very many keys is no slower to fill
/// than many small ones.
struct TOMLTree {
    /// Why something cannot be added.
    struct Conflict: Error {
        var text: String
    }

    private enum Kind {
        /// Complete: a scalar, an array or an inline table. Nothing can be added.
        case value(ConfigurationValue)
        /// A table that headers of tables within it made necessary; it may yet be defined, once.
        case implicit
        /// A table made by dotted keys, to which only keys of the same section can add more.
        case dotted(section: Int)
        /// A table with a header of its own, the top, or an element of an array of tables.
        case defined
        /// `[[…]]`: its children are its elements.
        case arrayOfTables
    }

    private struct Node {
        var kind: Kind
        var key: String
        var keyLocation: SourceLocation
        var location: SourceLocation
        // Children in order, as a chain.
        var childCount = 0
        var firstChild: Int?
        var lastChild: Int?
        var next: Int?
    }

    private struct Child: Hashable {
        var parent: Int
        var key: String
    }

    static let root = 0

    private var nodes: [Node]
    private var numbers: [Child: Int] = [:]
    /// The header that we are under.
    private var section = 0

    init(location: SourceLocation) {
        nodes = [Node(kind: .defined, key: "", keyLocation: location, location: location)]
    }

    // MARK: Growing

    /// Follows a header.
    ///
    /// - Returns: The table that the keys after it belong to.
    mutating func open(_ path: [TOMLParser.Key], isArray: Bool, at location: SourceLocation) throws(Conflict) -> Int {
        section += 1
        var table = Self.root
        for (position, key) in path.dropLast().enumerated() {
            guard let child = numbers[Child(parent: table, key: key.text)] else {
                table = add(.implicit, key, at: location, to: table)
                continue
            }
            switch nodes[child].kind {
            case .value: throw notATable(path[...position], child)
            case .arrayOfTables: table = nodes[child].lastChild ?? child
            case .implicit, .dotted, .defined: table = child
            }
        }
        guard let last = path.last else { return table }
        let existing = numbers[Child(parent: table, key: last.text)]
        if isArray { return try openElement(path, last, existing, in: table, at: location) }
        guard let existing else { return add(.defined, last, at: location, to: table) }
        guard case .implicit = nodes[existing].kind else { throw again("[\(Self.name(path[...]))]", existing) }
        nodes[existing].kind = .defined
        nodes[existing].location = location
        return existing
    }

    private mutating func openElement(
        _ path: [TOMLParser.Key],
        _ last: TOMLParser.Key,
        _ existing: Int?,
        in table: Int,
        at location: SourceLocation
    ) throws(Conflict) -> Int {
        let array = existing ?? add(.arrayOfTables, last, at: location, to: table)
        guard case .arrayOfTables = nodes[array].kind else {
            let what = "something else is defined on line \(nodes[array].location.line)"
            throw Conflict(text: "cannot add to \(Self.name(path[...])) with [[…]]; \(what)")
        }
        return append(Node(kind: .defined, key: "", keyLocation: location, location: location), to: array)
    }

    /// Puts a value where a dotted key, seen from `table`, says.
    mutating func insert(
        _ value: ConfigurationNode,
        at path: [TOMLParser.Key],
        in table: Int
    ) throws(Conflict) {
        var table = table
        for (position, key) in path.dropLast().enumerated() {
            guard let child = numbers[Child(parent: table, key: key.text)] else {
                table = add(.dotted(section: section), key, at: key.location, to: table)
                continue
            }
            switch nodes[child].kind {
            case .implicit: nodes[child].kind = .dotted(section: section)
            case .dotted(section): break
            case .value: throw notATable(path[...position], child)
            case .dotted, .defined, .arrayOfTables:
                let what = "it is already defined on line \(nodes[child].location.line)"
                throw Conflict(text: "cannot add to \(Self.name(path[...position])) with a dotted key; \(what)")
            }
            table = child
        }
        guard let last = path.last else { return }
        if let existing = numbers[Child(parent: table, key: last.text)] {
            throw again(Self.name(path[...]), existing)
        }
        _ = add(.value(value.value), last, at: value.location, to: table)
    }

    private mutating func add(
        _ kind: Kind,
        _ key: TOMLParser.Key,
        at location: SourceLocation,
        to parent: Int
    ) -> Int {
        numbers[Child(parent: parent, key: key.text)] = nodes.count
        return append(Node(kind: kind, key: key.text, keyLocation: key.location, location: location), to: parent)
    }

    private mutating func append(_ node: Node, to parent: Int) -> Int {
        let number = nodes.count
        nodes.append(node)
        if let last = nodes[parent].lastChild { nodes[last].next = number } else { nodes[parent].firstChild = number }
        nodes[parent].lastChild = number
        nodes[parent].childCount += 1
        return number
    }

    // MARK: Complaining

    private func again(_ name: String, _ first: Int) -> Conflict {
        Conflict(text: "cannot define \(name) again; it is already defined on line \(nodes[first].location.line)")
    }

    private func notATable(_ path: ArraySlice<TOMLParser.Key>, _ node: Int) -> Conflict {
        let text = "cannot add to \(Self.name(path)); it has its whole value on line \(nodes[node].location.line)"
        return Conflict(text: text)
    }

    private static func name(_ path: ArraySlice<TOMLParser.Key>) -> String {
        Quoting.path(path.map(\.text))
    }

    // MARK: The result

    /// The finished top table. Tables nest no deeper than the parser's limits let them.
    func table() -> ConfigurationTable { table(Self.root) }

    private func table(_ number: Int) -> ConfigurationTable {
        var result = ConfigurationTable(location: nodes[number].location)
        result.entries.reserveCapacity(nodes[number].childCount)
        var next = nodes[number].firstChild
        while let child = next {
            let (key, location) = (nodes[child].key, nodes[child].keyLocation)
            let entry = ConfigurationTable.Entry(key: key, keyLocation: location, node: node(child))
            result.entries.append(entry)
            next = nodes[child].next
        }
        return result
    }

    private func node(_ number: Int) -> ConfigurationNode {
        let location = nodes[number].location
        switch nodes[number].kind {
        case .value(let value): return ConfigurationNode(value: value, location: location)
        case .implicit, .dotted, .defined: return ConfigurationNode(value: .table(table(number)), location: location)
        case .arrayOfTables:
            var elements: [ConfigurationNode] = []
            elements.reserveCapacity(nodes[number].childCount)
            var next = nodes[number].firstChild
            while let child = next {
                elements.append(node(child))
                next = nodes[child].next
            }
            return ConfigurationNode(value: .array(elements), location: location)
        }
    }
}
