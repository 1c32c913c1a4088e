import Glibc
import LinuxPlatform

/// `--runtime-directory DIR [--state-directory DIR]`; nil when it is anything else.
func runtimeDirectory(in arguments: [String]) -> String? {
    var found: String?
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
        guard let value = rest.popFirst(), !value.isEmpty else { return nil }
        switch name {
        case "--runtime-directory": found = value
        // What the shim keeps dies with the host, so that it has no use for it.
        case "--state-directory": break
        default: return nil
        }
    }
    return found
}

/// Runs the shim; the value is the exit code.
func runShim(_ arguments: [String]) -> Int32 {
    guard let directory = runtimeDirectory(in: arguments) else {
        StandardError.line("eider-shim: usage: eider-shim --runtime-directory DIR [--state-directory DIR]")
        return 64
    }
    do {
        try FileSystem.makeDirectory(directory, mode: 0o755)
        let lock = try FileLock(path: directory + "/shim.lock")
        let shim = try Shim(Setup(runtimeDirectory: directory, lock: lock))
        return try shim.run()
    } catch FileLock.Refusal.held(let pid, let path) {
        let holder = pid.map { String($0) } ?? "unknown"
        StandardError.line(
            "eider-shim: cannot start: another shim (process \(holder)) serves this fleet and holds \(path); "
                + "stop it first"
        )
    } catch {
        StandardError.line("eider-shim: \(error)")
    }
    return 1
}

StandardDescriptors.fillGaps()
exit(runShim(CommandLine.arguments))
