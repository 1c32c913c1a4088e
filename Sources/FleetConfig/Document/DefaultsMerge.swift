/// Lays `[defaults]` under a service, key by key; tables within tables likewise.
enum DefaultsMerge {
    /// A copy in which every value is marked as inherited.
    static func inherited(_ table: ConfigurationTable) -> ConfigurationTable {
        var result = table
        result.location.inherited = true
        for position in result.entries.indices {
            result.entries[position].node.location.inherited = true
            if case .table(let inner) = result.entries[position].node.value {
                result.entries[position].node.value = .table(inherited(inner))
            }
        }
        return result
    }

    /// - Parameter defaults: Marked as inherited.
    static func merge(_ defaults: ConfigurationTable, under service: ConfigurationTable) -> ConfigurationTable {
        var result = service
        for entry in defaults.entries {
            guard let position = service.entries.firstIndex(where: { $0.key == entry.key }) else {
                result.entries.append(entry)
                continue
            }
            guard case .table(let own) = service.entries[position].node.value,
                case .table(var inner) = entry.node.value
            else { continue }
            // A service that says how it is probed replaces the defaults' way, whatever that was.
            if own.entries.contains(where: { ProbeDraft.methods.contains($0.key) }) {
                inner.entries.removeAll { ProbeDraft.methods.contains($0.key) }
            }
            result.entries[position].node.value = .table(merge(inner, under: own))
        }
        return result
    }
}
