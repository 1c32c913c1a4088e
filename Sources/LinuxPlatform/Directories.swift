internal import CLinux

/// Directories that a program needs to be there.
public enum Directories {
    /// Makes the directory and those above it that are missing. One that is there is left as it is.
    /// - Throws: `SystemError` with the directory that could not be made.
    public static func make(_ path: String, mode: UInt32) throws(SystemError) {
        if FileKind.isDirectory(path) { return }
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex {
            try make(String(path[..<slash]), mode: 0o755)
        }
        let result = clinux_mkdir(path, mode)
        // Somebody else may just have made it.
        if result < 0, !FileKind.isDirectory(path) {
            throw SystemError(call: "make the directory", errno: -result, path: path)
        }
    }
}
