import SupervisorCore

/// Moves the texts and lists of services to memory of their own, equal ones once.
///
/// What reading leaves of a service lies among everything that reading took and gave back, and a little on each page
/// keeps every page. So all of it is written to one tape, given back, and made anew from the tape.
struct Compaction {
    private var bytes: [UInt8] = []
    /// Bytes of texts, elements of lists and the numbers in them, in the order of their visit.
    private var numbers: [Int] = []
    private var isWriting = true
    private var nextByte = 0
    private var nextNumber = 0
    private var texts: Set<String> = []
    private var lists: Set<[String]> = []
    private var environments: Set<[EnvironmentVariable]> = []

    /// - Parameter services: Equal to what they were, afterwards. None of the texts should be held by others.
    static func compact(_ services: inout [ServiceSpec]) {
        var compaction = Compaction()
        for number in services.indices { compaction.visit(&services[number]) }
        compaction.isWriting = false
        for number in services.indices { compaction.visit(&services[number]) }
    }

    private mutating func visit(_ service: inout ServiceSpec) {
        text(&service.name)
        list(&service.command)
        optional(&service.user)
        optional(&service.group)
        if var groups = service.credentials?.supplementaryGroups {
            service.credentials?.supplementaryGroups = []
            integers(&groups)
            service.credentials?.supplementaryGroups = groups
        }
        text(&service.workingDirectory)
        environment(&service.environment)
        list(&service.environmentFiles)
        list(&service.passEnvironment)
        list(&service.after)
        text(&service.release)
        list(&service.sockets)
        integers(&service.restart.successExitCodes)
        if let probe = service.startupProbe { service.startupProbe?.method = method(probe.method) }
        if let probe = service.readiness { service.readiness?.method = method(probe.method) }
        if let probe = service.liveness.probe { service.liveness.probe?.method = method(probe.method) }
    }

    private mutating func number(_ value: Int) -> Int {
        if isWriting {
            numbers.append(value)
            return value
        }
        defer { nextNumber += 1 }
        return numbers[nextNumber]
    }

    private mutating func text(_ text: inout String) {
        let count = number(text.utf8.count)
        if isWriting {
            bytes += Array(text.utf8)
            text = ""
            return
        }
        let copy = String(decoding: bytes[nextByte..<nextByte + count], as: UTF8.self)
        nextByte += count
        // Short ones lie within the value.
        text = count <= 15 ? copy : texts.insert(copy).memberAfterInsert
    }

    private mutating func optional(_ value: inout String?) {
        guard var some = value else { return }
        value = ""
        text(&some)
        value = some
    }

    private mutating func list(_ list: inout [String]) {
        var copy = list
        list = []
        let count = number(copy.count)
        if !isWriting { copy = Array(repeating: "", count: count) }
        for position in copy.indices { text(&copy[position]) }
        if !isWriting, count > 0 { list = lists.insert(copy).memberAfterInsert }
    }

    private mutating func environment(_ environment: inout [EnvironmentVariable]) {
        var copy = environment
        environment = []
        let count = number(copy.count)
        if !isWriting { copy = Array(repeating: EnvironmentVariable(name: "", value: ""), count: count) }
        for position in copy.indices {
            text(&copy[position].name)
            text(&copy[position].value)
        }
        if !isWriting, count > 0 { environment = environments.insert(copy).memberAfterInsert }
    }

    private mutating func integers<Value: FixedWidthInteger>(_ list: inout [Value]) {
        let count = number(list.count)
        let old = list
        list = []
        for position in 0..<count {
            let value = number(isWriting ? Int(truncatingIfNeeded: old[position]) : 0)
            if !isWriting { list.append(Value(truncatingIfNeeded: value)) }
        }
    }

    private mutating func method(_ method: ServiceSpec.ProbeMethod) -> ServiceSpec.ProbeMethod {
        switch method {
        case .http(var url):
            text(&url)
            return .http(url: url)
        case .tcp(var address):
            text(&address)
            return .tcp(address: address)
        case .exec(var command):
            list(&command)
            return .exec(command: command)
        case .grpc(var address):
            text(&address)
            return .grpc(address: address)
        }
    }
}
