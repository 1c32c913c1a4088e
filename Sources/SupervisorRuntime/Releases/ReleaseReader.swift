import Glibc
import LinuxPlatform
import SupervisorCore
import Synchronization

/// Tells which release of a service the host has, from what its executable holds, on a thread of its own: a slow disk
/// delays nobody.
final class ReleaseReader: Sendable {
    private struct State: Sendable {
        var wanted: [ServiceSpec] = []
        var isRunning = false
        var known: [String: ExecutableDigest] = [:]
    }

    private let state = Mutex(State())
    private let found: @Sendable ([String: String]) -> Void

    /// - Parameter found: called on the reader's thread with the releases of all services that were asked for.
    init(found: @escaping @Sendable ([String: String]) -> Void) {
        self.found = found
    }

    /// Looks at the executables of these services; those whose release is configured are none of its business.
    func identify(_ services: [ServiceSpec]) {
        let services = services.filter { $0.release.isEmpty }
        if services.isEmpty { return }
        let begins = state.withLock { state in
            for service in services where !state.wanted.contains(where: { $0.name == service.name }) {
                state.wanted.append(service)
            }
            defer { state.isRunning = true }
            return !state.isRunning
        }
        guard begins else { return }
        do throws(SystemError) {
            try OwnThread.start("eider-releases") { [self] in work() }.letGo()
        } catch {
            // Without a thread the releases stay what they were: asked again with the next crash.
            state.withLock { $0.isRunning = false }
        }
    }

    /// The same before anything else is done, for at most as long as `patience`: what is not known then, is later.
    func identifyNow(_ services: [ServiceSpec], within patience: Duration) -> [String: String] {
        let answer = Answer()
        let wanted = services.filter { $0.release.isEmpty }
        do throws(SystemError) {
            try OwnThread.start("eider-releases") { [self] in answer.give(releases(of: wanted)) }.letGo()
        } catch {
            return [:]
        }
        return answer.await(for: patience)
    }

    private func work() {
        while true {
            let next = state.withLock { state in
                defer { state.wanted = [] }
                state.isRunning = !state.wanted.isEmpty
                return state.wanted
            }
            if next.isEmpty { return }
            found(releases(of: next))
        }
    }

    private func releases(of services: [ServiceSpec]) -> [String: String] {
        var releases: [String: String] = [:]
        for service in services {
            guard let path = service.command.first else { continue }
            let before = state.withLock { $0.known[path] }
            let digest = ExecutableDigest(path: path, before: before)
            state.withLock { $0.known[path] = digest }
            releases[service.name] = ReleaseName.digest(service.command, content: digest?.content ?? 0)
        }
        return releases
    }

    /// Waits for one answer of another thread.
    private final class Answer: Sendable {
        private let value = Mutex<[String: String]?>(nil)
        private let wake = try? WakeDescriptor()

        func give(_ releases: [String: String]) {
            value.withLock { $0 = releases }
            wake?.signal()
        }

        func await(for patience: Duration) -> [String: String] {
            _ = wake?.wait(until: MonotonicClock.now().advanced(by: patience).nanoseconds)
            return value.withLock { $0 } ?? [:]
        }
    }
}

/// A digest of what an executable holds, with what tells that it was replaced.
struct ExecutableDigest: Sendable, Equatable {
    private struct Identity: Sendable, Equatable {
        var device: UInt64
        var inode: UInt64
        var size: Int64
        var modified: Int64
        var changed: Int64
    }

    private let identity: Identity
    let content: UInt64

    /// Read whole up to this size; of a larger one its beginning (where linkers put a build's identity), its end, and
    /// samples between. Bytes.
    private static let whole = 1 << 20
    private static let begin = 256 << 10
    private static let end = 64 << 10
    private static let samples = 32
    private static let sample = 4 << 10

    /// nil where it cannot be read.
    ///
    /// - Parameter before: what was found the last time: kept where the file is the same.
    init?(path: String, before: ExecutableDigest?) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
        identity = Identity(
            device: UInt64(status.st_dev),
            inode: UInt64(status.st_ino),
            size: Int64(status.st_size),
            modified: Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec),
            changed: Int64(status.st_ctim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_ctim.tv_nsec)
        )
        if let before, before.identity == identity {
            content = before.content
            return
        }
        guard let digest = Self.digest(descriptor, size: Int(clamping: identity.size)) else { return nil }
        content = digest
    }

    private static func digest(_ descriptor: Int32, size: Int) -> UInt64? {
        var fingerprint = Fingerprint()
        for shift in stride(from: 0, to: 64, by: 8) { fingerprint.add(UInt8(truncatingIfNeeded: size >> shift)) }
        if size <= whole {
            guard add(descriptor, 0..<size, &fingerprint) else { return nil }
            return fingerprint.value
        }
        guard add(descriptor, 0..<begin, &fingerprint), add(descriptor, (size - end)..<size, &fingerprint) else {
            return nil
        }
        let step = (size - begin - end) / (samples + 1)
        for number in 1...samples {
            let start = begin + number * step
            guard add(descriptor, start..<min(size, start + sample), &fingerprint) else { return nil }
        }
        return fingerprint.value
    }

    private static func add(_ descriptor: Int32, _ range: Range<Int>, _ fingerprint: inout Fingerprint) -> Bool {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        var offset = range.lowerBound
        while offset < range.upperBound {
            let wanted = min(chunk.count, range.upperBound - offset)
            let count = chunk.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, wanted, off_t(offset)) }
            if count < 0, errno == EINTR { continue }
            // It is being written to: what is read now is no release.
            if count <= 0 { return false }
            for byte in chunk[..<count] { fingerprint.add(byte) }
            offset += count
        }
        return true
    }
}
