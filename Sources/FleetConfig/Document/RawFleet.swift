/// What all files together say, still as trees: the fleet's own tables, the defaults, and each service once.
struct RawFleet {
    struct Named {
        var name: String
        var table: ConfigurationTable
    }

    /// The main file's top table; keys that are read apart are still in it.
    var top: ConfigurationTable?
    var defaults: ConfigurationTable?
    /// In the order of the files.
    var services: [Named] = []
    var dependencies: [Named] = []

    /// - Parameter files: Names for texts that point to another file.
    init(_ documents: [(file: Int, table: ConfigurationTable)], files: [String], _ problems: inout Problems) {
        var places: [String: SourceLocation] = [:]
        for (file, table) in documents {
            if file == 0 {
                top = table
                readDefaults(table, &problems)
                dependencies = Self.named("dependencies", in: table, example: "svc.payment.v1", &problems)
            } else {
                Self.refuseForeignTables(table, &problems)
            }
            for service in Self.named("services", in: table, example: "auth", &problems) {
                let location = service.table.location
                if let first = places[service.name] {
                    let place = "\(files[first.file]):\(first.line)"
                    let text = "cannot define the service again; it is already defined at \(place)"
                    problems.add(["services", service.name], text, at: location)
                    continue
                }
                places[service.name] = location
                services.append(service)
            }
        }
    }

    private mutating func readDefaults(_ top: ConfigurationTable, _ problems: inout Problems) {
        guard let node = top["defaults"] else { return }
        guard case .table(let table) = node.value else {
            let text = "cannot use \(node.value.shown); use a table, such as [defaults]"
            problems.add(["defaults"], text, at: node.location)
            return
        }
        defaults = table
    }

    private static func refuseForeignTables(_ table: ConfigurationTable, _ problems: inout Problems) {
        for entry in table.entries where entry.key != "services" {
            let text = "cannot use it here; a file in services.d holds only [services.NAME]"
            problems.add([entry.key], text, at: entry.node.location)
        }
    }

    /// The tables within the table `key`, by their users' names.
    private static func named(
        _ key: String,
        in top: ConfigurationTable,
        example: String,
        _ problems: inout Problems
    ) -> [Named] {
        guard let node = top[key] else { return [] }
        guard case .table(let table) = node.value else {
            let name = Quoting.key(example)
            let text = "cannot use \(node.value.shown); use tables, such as [\(key).\(name)]"
            problems.add([key], text, at: node.location)
            return []
        }
        var result: [Named] = []
        for entry in table.entries {
            if case .table(let table) = entry.node.value {
                result.append(Named(name: entry.key, table: table))
            } else {
                let name = Quoting.path([key, entry.key])
                let text = "cannot use \(entry.node.value.shown); use a table, such as [\(name)]"
                problems.add([key, entry.key], text, at: entry.node.location)
            }
        }
        return result
    }
}
