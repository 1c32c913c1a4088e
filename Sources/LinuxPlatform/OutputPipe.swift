import Glibc
public import SupervisorCore

/// The pipe that becomes a worker's standard output and error.
public enum OutputPipe {
    /// Bytes that a worker may write while no daemon reads. More than the usual 64 KiB where we may: the daemon may be
    /// away for as long as somebody needs to mend its configuration.
    private static let roomBytes: Int32 = 256 << 10
    /// F_SETPIPE_SZ
    private static let setPipeSize: Int32 = 1031

    /// Gives the pipe room, and to the worker's user, who could not open `/dev/stderr` else. Both as far as we may: an
    /// ordinary pipe does as well.
    public static func prepare(_ writer: Int32, owner: ServiceSpec.Credentials?) {
        // Without privileges the room of all our pipes together is limited, and running out makes them tiny.
        if geteuid() == 0 { _ = fcntl(writer, setPipeSize, roomBytes) }
        if let owner { _ = fchown(writer, owner.uid, owner.gid) }
    }
}
