import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore

/// What /proc says.
enum Processes {
    /// A process that is not a zombie has this pid.
    static func lives(_ pid: Int32) -> Bool { ProcessTable.entry(pid).map { !$0.isDead } ?? false }

    static func commandLine(_ pid: Int32) -> String {
        ((try? SmallFile.read("/proc/\(pid)/cmdline")) ?? []).isEmpty
            ? ""
            : String(
                decoding: ((try? SmallFile.read("/proc/\(pid)/cmdline")) ?? []).map { $0 == 0 ? 32 : $0 },
                as: UTF8.self
            )
    }

    static func directory(_ pid: Int32) -> String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(pid)/cwd")) ?? ""
    }

    static func descriptors(_ pid: Int32) -> Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []).count
    }

    static func threads(_ pid: Int32) -> Int { threadNumbers(pid).count }

    static func threadNumbers(_ pid: Int32) -> [Int32] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []).compactMap { Int32($0) }
    }

    /// Anonymous memory that the process alone has, in KiB.
    static func privateMemory(_ pid: Int32) -> Int { memory(pid, "Private_Dirty:") }

    /// Proportional set size, in KiB.
    static func proportionalMemory(_ pid: Int32) -> Int { memory(pid, "Pss:") }

    private static func memory(_ pid: Int32, _ name: String) -> Int {
        for line in File.text("/proc/\(pid)/smaps_rollup").split(separator: "\n") where line.hasPrefix(name) {
            return line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        }
        return 0
    }

    /// Processes of a fleet in `directory`, other than daemon and shim: by working directory, command line or
    /// environment.
    static func ofFleet(_ directory: String) -> [Int32] {
        all { pid in
            let words = commandLine(pid)
            // A zombie has no words, and is nobody's trouble but its parent's.
            if words.isEmpty || isManager(words) { return false }
            return Self.directory(pid).hasPrefix(directory) || words.contains(directory)
                || ProcessTable.variable("NOTIFY_SOCKET", of: pid)?.hasPrefix(directory) == true
        }
    }

    static func shims(_ directory: String) -> [Int32] {
        let found = all { pid in
            let words = commandLine(pid)
            return words.contains("/eider-shim ") && words.contains(directory)
        }
        // A child of the shim looks like it until it executes its program.
        return found.filter { pid in ProcessTable.entry(pid).map { !found.contains($0.parent) } ?? false }
    }

    static func daemons(_ directory: String) -> [Int32] {
        all { pid in
            let words = commandLine(pid)
            return words.contains("/eiderd ") && words.contains(directory)
        }
    }

    private static func isManager(_ words: String) -> Bool {
        guard let program = words.split(separator: " ").first else { return false }
        return program.hasSuffix("/eiderd") || program.hasSuffix("/eider-shim") || program.hasSuffix("/eiderctl")
    }

    private static func all(_ matches: (Int32) -> Bool) -> [Int32] {
        let own = getpid()
        return ((try? ProcessTable.pids()) ?? []).filter { $0 != own && $0 != 1 && matches($0) }
    }
}

/// TCP ports for tests.
enum Ports {
    /// The first of `count` ports in a row of which none is in use, outside the range the kernel takes its own from.
    static func free(_ count: Int) throws -> Int {
        var generator = Seeded(state: UInt64(truncatingIfNeeded: MonotonicClock.now().nanoseconds))
        for _ in 0..<200 {
            let base = 10_000 + Int(generator.next() % 20_000)
            if (base..<(base + count)).allSatisfy(isFree) { return base }
        }
        throw TestFailure("there are no \(count) free ports")
    }

    static func isFree(_ port: Int) -> Bool { (try? listen(port)) != nil }

    /// Listens on a port of this host, as another program would.
    static func listen(_ port: Int) throws -> Descriptor {
        do {
            return try TCPListener.listen(host: "127.0.0.1", port: port)
        } catch {
            throw TestFailure("\(error)")
        }
    }
}
