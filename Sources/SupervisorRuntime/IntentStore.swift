import Glibc
import LinuxPlatform
import SupervisorCore

/// What operators asked for, on disk: `STATE/intents`. It counts after a reboot, when no shim remembers.
///
/// The file is replaced as a whole (write aside, fsync, rename), so that it is the old or the new one whenever power
/// fails. It is small, and written only when an operator stops or starts something.
struct IntentStore {
    let path: String

    private static let magic: [UInt8] = Array("eider-intents-1\n".utf8)
    /// More than a fleet of ten thousand instances needs.
    private static let maximumBytes = 4 << 20

    init(stateDirectory: String) {
        path = stateDirectory + "/intents"
    }

    /// The stored intents; none when there is no file. Nil when there is one that cannot be read or is damaged.
    func load() -> Intents? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { return errno == ENOENT ? Intents() : nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while bytes.count < Self.maximumBytes {
            let count = read(descriptor, &chunk, chunk.count)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return nil }
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        guard bytes.starts(with: Self.magic) else { return nil }
        let stored = Intents(decoding: Array(bytes.dropFirst(Self.magic.count)))
        // On disk times are of the wall clock: the monotonic one begins anew with each boot. They are for display.
        return stored?.moved(by: .zero - .nanoseconds(MonotonicClock.wallClockOffset()))
    }

    /// Writes the intents. May take as long as the disk takes: not on the supervision thread.
    /// - Throws: `SystemError` that names the step; the old file is then still there.
    func save(_ intents: Intents) throws(SystemError) {
        let aside = path + ".new"
        let descriptor = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SystemError(call: "create", errno: errno, path: aside) }
        let intents = intents.moved(by: .nanoseconds(MonotonicClock.wallClockOffset()))
        let failure = write(Self.magic + intents.encoded(), to: descriptor)
        close(descriptor)
        if failure != 0 {
            unlink(aside)
            throw SystemError(call: "write", errno: failure, path: aside)
        }
        guard rename(aside, path) == 0 else { throw SystemError(call: "rename", errno: errno, path: aside) }
    }

    private func write(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
        var offset = 0
        while offset < bytes.count {
            let count = bytes[offset...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            if count < 0 { return errno }
            offset += count
        }
        return fsync(descriptor) == 0 ? 0 : errno
    }
}
