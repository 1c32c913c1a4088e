/// What a change of a key's value means for what already runs.
public enum ChangeEffect: String, Sendable {
    /// The running instances see it only when they are started again.
    case restart
    /// The daemon follows it without touching an instance.
    case live
}

/// One key of a configuration: its name, and everything that is done with it.
struct KeyDescription<Root: Sendable>: Sendable {
    /// Within the table that the description belongs to.
    var path: [String]
    var effect: ChangeEffect
    /// Reads the value into `Root`.
    var decode: @Sendable (ConfigurationNode, inout Root, inout Problems) -> Void
    /// The value as TOML would write it; of a table with free keys one text for each of its keys.
    var render: @Sendable (Root) -> [(subkey: String?, text: String)]
    /// Whether two roots have the same value here.
    var isEqual: @Sendable (Root, Root) -> Bool
    /// Keys of the value are names that users choose.
    var hasFreeKeys = false

    /// A key whose value is read by `codec` and kept at `place`.
    static func key<Value: Equatable & Sendable>(
        _ name: String,
        _ place: any WritableKeyPath<Root, Value> & Sendable,
        _ codec: ValueCodec<Value>,
        _ effect: ChangeEffect
    ) -> KeyDescription {
        KeyDescription(
            path: name.split(separator: ".").map(String.init),
            effect: effect,
            decode: { node, root, problems in
                if let value = codec.decode(node, &problems) { root[keyPath: place] = value }
            },
            render: { [(nil, codec.render($0[keyPath: place]))] },
            isEqual: { $0[keyPath: place] == $1[keyPath: place] }
        )
    }

    /// The same key as part of something larger.
    func within<Outer: Sendable>(
        _ name: String,
        _ place: any WritableKeyPath<Outer, Root> & Sendable
    ) -> KeyDescription<Outer> {
        KeyDescription<Outer>(
            path: [name] + path,
            effect: effect,
            decode: { node, outer, problems in decode(node, &outer[keyPath: place], &problems) },
            render: { render($0[keyPath: place]) },
            isEqual: { isEqual($0[keyPath: place], $1[keyPath: place]) },
            hasFreeKeys: hasFreeKeys
        )
    }
}

/// Where a value that was set stands: which key, and the place.
struct KeyOrigin: Sendable {
    /// Into the key table's `keys`.
    var key: Int
    /// The user's own name in a table with free keys.
    var subkey: String?
    var location: SourceLocation
}

/// All keys of one kind of table, found by name.
struct KeyTable<Root: Sendable>: Sendable {
    /// A table of keys within the table.
    private indirect enum Slot: Sendable {
        case key(Int)
        case table(Level)
    }

    private struct Level: Sendable {
        var slots: [String: Slot] = [:]
        /// In the order of their description.
        var names: [String] = []

        mutating func insert(_ path: ArraySlice<String>, _ number: Int) {
            guard let name = path.first else { return }
            if slots[name] == nil { names.append(name) }
            if path.count == 1 {
                slots[name] = .key(number)
                return
            }
            var level = Level()
            if case .table(let existing)? = slots[name] { level = existing }
            level.insert(path.dropFirst(), number)
            slots[name] = .table(level)
        }
    }

    let keys: [KeyDescription<Root>]
    /// Keys at the top that somebody else reads.
    let foreign: [String]
    private var top = Level()

    init(_ keys: [KeyDescription<Root>], foreign: [String] = []) {
        self.keys = keys
        self.foreign = foreign
        for (number, key) in keys.enumerated() { top.insert(key.path[...], number) }
    }

    /// Reads what `table` sets into `root`; everything else keeps its default.
    ///
    /// - Returns: Where each value that was set stands.
    func decode(_ table: ConfigurationTable, into root: inout Root, _ problems: inout Problems) -> [KeyOrigin] {
        var origins: [KeyOrigin] = []
        decode(table, top, isTop: true, &root, &origins, &problems)
        return origins
    }

    private func decode(
        _ table: ConfigurationTable,
        _ level: Level,
        isTop: Bool,
        _ root: inout Root,
        _ origins: inout [KeyOrigin],
        _ problems: inout Problems
    ) {
        for entry in table.entries {
            problems.path.append(entry.key)
            defer { problems.path.removeLast() }
            switch level.slots[entry.key] {
            case .key(let number)?:
                note(number, entry.node, &origins)
                keys[number].decode(entry.node, &root, &problems)
            case .table(let inner)?:
                if case .table(let table) = entry.node.value {
                    decode(table, inner, isTop: false, &root, &origins, &problems)
                } else {
                    let example = Quoting.path(problems.path)
                    let text = "cannot use \(entry.node.value.shown); use a table, such as [\(example)]"
                    problems.report(text, at: entry.node.location)
                }
            case nil:
                if isTop, foreign.contains(entry.key) { continue }
                complain(about: entry, level, isTop: isTop, &problems)
            }
        }
    }

    private func note(_ number: Int, _ node: ConfigurationNode, _ origins: inout [KeyOrigin]) {
        guard keys[number].hasFreeKeys, case .table(let table) = node.value else {
            origins.append(KeyOrigin(key: number, subkey: nil, location: node.location))
            return
        }
        for entry in table.entries {
            origins.append(KeyOrigin(key: number, subkey: entry.key, location: entry.node.location))
        }
    }

    /// Says of an unknown key what was probably meant.
    private func complain(
        about entry: ConfigurationTable.Entry,
        _ level: Level,
        isTop: Bool,
        _ problems: inout Problems
    ) {
        var names = level.names
        if isTop { names += foreign }
        var text = "cannot use the key \(Quoting.shown(entry.key)); "
        if let suggestion = EditDistance.suggestion(for: entry.key, among: names) {
            text += "did you mean \"\(suggestion)\"?"
        } else if let other = keys.first(where: { $0.path.count > 1 && $0.path.last == entry.key }) {
            text += "did you mean \"\(other.path.joined(separator: "."))\"?"
        } else {
            text += "use \(Quoting.alternatives(names))"
        }
        problems.report(text, at: entry.node.location)
    }
}
