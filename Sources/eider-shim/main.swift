import Glibc
import LinuxPlatform

/// `--runtime-directory DIR [--state-directory DIR]`; nil when it is anything else.
func directories(in arguments: [String]) -> (runtime: String, state: String?)? {
    var runtime: String?
    var state: String?
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
        guard let value = rest.popFirst(), !value.isEmpty else { return nil }
        switch name {
        case "--runtime-directory": runtime = value
        case "--state-directory": state = value
        default: return nil
        }
    }
    return runtime.map { ($0, state) }
}

/// Runs the shim; the value is the exit code.
func runShim(_ arguments: [String]) -> Int32 {
    guard let directories = directories(in: arguments) else {
        StandardError.line("eider-shim: usage: eider-shim --runtime-directory DIR [--state-directory DIR]")
        return 64
    }
    let spare = SpareDescriptor()
    do {
        let place = try Place(runtimeDirectory: directories.runtime, stateDirectory: directories.state)
        let shim = try Shim(Setup(place, spare: spare))
        return try shim.run()
    } catch {
        StandardError.line("eider-shim: \(error)")
    }
    return 1
}

StandardDescriptors.fillGaps()
exit(runShim(CommandLine.arguments))
