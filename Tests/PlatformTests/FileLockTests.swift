import Glibc
import LinuxPlatform
import Testing

@Suite("Locks")
struct FileLockTests {
    /// Root may write what nobody may: a mount of its own shows the difference, where one can be had.
    private static func mountReadOnly(_ path: String) -> Bool {
        guard mount(path, path, nil, UInt(MS_BIND), nil) == 0 else { return false }
        let flags = UInt(MS_BIND | MS_REMOUNT | MS_RDONLY)
        if mount(nil, path, nil, flags, nil) == 0 { return true }
        _ = umount2(path, Int32(MNT_DETACH))
        return false
    }

    @Test("a file on a read-only file system is locked all the same, and a missing one is refused")
    func readOnly() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("lock", "4711\n", mode: 0o644)
        guard Self.mountReadOnly(directory.path) else {
            Issue.record("cannot mount a file system: this test needs root")
            return
        }
        defer { _ = umount2(directory.path, Int32(MNT_DETACH)) }
        let first = try FileLock(path: path)
        do {
            _ = try FileLock(path: path)
            Issue.record("taken twice")
        } catch FileLock.Refusal.held(let pid, _) {
            // Its last writer's: ours could not be written.
            #expect(pid == 4711)
        }
        do {
            _ = try FileLock(path: directory.file("missing"))
            Issue.record("made on a read-only file system")
        } catch FileLock.Refusal.failed(let error) {
            #expect(error.errno == EROFS)
        }
        #expect(first.rawValue > 2)
    }

    @Test("a file that may only be read is locked by those who may not write it")
    func unwritable() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("lock", "4711\n", mode: 0o444)
        do {
            let first = try FileLock(path: path)
            #expect(first.rawValue > 2)
            #expect(throws: FileLock.Refusal.self) { _ = try FileLock(path: path) }
        }
        _ = try FileLock(path: path)
    }

    @Test("a directory is locked once")
    func ofADirectory() throws {
        let directory = try TemporaryDirectory()
        do {
            let first = try FileLock(directory: directory.path)
            #expect(first.rawValue > 2)
            do {
                _ = try FileLock(directory: directory.path)
                Issue.record("taken twice")
            } catch FileLock.Refusal.held(let pid, _) {
                #expect(pid == nil)
            }
        }
        _ = try FileLock(directory: directory.path)
        #expect(throws: FileLock.Refusal.self) { _ = try FileLock(directory: directory.file("missing")) }
    }
}
