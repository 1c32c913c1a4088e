import Glibc

/// This process's own program.
public enum OwnProgram {
    /// Replaces this process by another program. Answers only when that cannot be done.
    public static func replace(by arguments: [String], environment: [String]) -> SystemError {
        let argumentList = CStringList(arguments)
        let environmentList = CStringList(environment)
        defer {
            argumentList.free()
            environmentList.free()
        }
        let path = arguments.first ?? ""
        if let words = argumentList.pointers.baseAddress, let variables = environmentList.pointers.baseAddress {
            execve(path, words, variables)
        }
        return SystemError(call: "execute", errno: errno, path: path)
    }

    /// Our own environment, `NAME=value`.
    public static func environment() -> [String] {
        var list: [String] = []
        var next = environ
        while let entry = next.pointee {
            list.append(String(cString: entry))
            next += 1
        }
        return list
    }
}

/// A NULL-terminated list of C strings.
private struct CStringList {
    let pointers: UnsafeMutableBufferPointer<UnsafeMutablePointer<CChar>?>

    init(_ strings: [String]) {
        pointers = .allocate(capacity: strings.count + 1)
        pointers.initialize(repeating: nil)
        for (index, string) in strings.enumerated() { pointers[index] = strdup(string) }
    }

    func free() {
        for pointer in pointers { Glibc.free(pointer) }
        pointers.deallocate()
    }
}
