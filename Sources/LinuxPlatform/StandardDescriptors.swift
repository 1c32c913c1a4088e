import Glibc

/// Descriptors 0, 1 and 2.
public enum StandardDescriptors {
    /// Opens /dev/null for each of the three that is closed. Else the first files that we open would take their places,
    /// and what is written to standard error would go into them.
    public static func fillGaps() {
        for number in Int32(0)...2 where fcntl(number, F_GETFD) < 0 {
            // The lowest free number is this one: those below are open.
            _ = open("/dev/null", O_RDWR)
        }
    }
}
