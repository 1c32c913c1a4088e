import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// Not the one of Swift Testing.
typealias ExitStatus = SupervisorCore.ExitStatus

/// Waits, on nothing but the condition, for at most `seconds`.
func eventually(within seconds: Double = 10, _ condition: () throws -> Bool) rethrows -> Bool {
    let deadline = MonotonicClock.now().advanced(by: .seconds(seconds))
    while true {
        if try condition() { return true }
        if MonotonicClock.now() > deadline { return false }
        OwnProcess.pause(milliseconds: 1)
    }
}

/// A directory that goes with the test. Its path is short: socket paths have 107 bytes.
final class TemporaryDirectory {
    let path: String

    init() throws {
        var name = Array("/tmp/eider-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw SystemError(call: "make a directory in", errno: errno, path: "/tmp") }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)
    }

    deinit {
        guard let directory = opendir(path) else { return }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != ".." { names.append(name) }
        }
        closedir(directory)
        for name in names { unlink(path + "/" + name) }
        rmdir(path)
    }

    func file(_ name: String) -> String { path + "/" + name }

    func write(_ name: String, _ text: String, mode: UInt32 = 0o755) throws -> String {
        try FileSystem.replace(file(name), with: text, mode: mode)
        chmod(file(name), mode)
        return file(name)
    }
}

/// Whether a process that is not a zombie has this pid.
func lives(_ pid: Int32) -> Bool {
    ProcessTable.entry(pid).map { !$0.isDead } ?? false
}

/// Everything that comes out of a pipe until `isEnough` says so, or its end.
func read(_ pipe: Int32, within seconds: Double = 10, until isEnough: (String) -> Bool) throws -> String {
    try FileDescriptors.setNonblocking(pipe)
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    _ = try eventually(within: seconds) {
        let count = try buffer.withUnsafeMutableBytes { try FileDescriptors.read(pipe, into: $0) }
        if let count { text.append(contentsOf: buffer[..<count]) }
        return count == 0 || isEnough(String(decoding: text, as: UTF8.self))
    }
    return String(decoding: text, as: UTF8.self)
}
