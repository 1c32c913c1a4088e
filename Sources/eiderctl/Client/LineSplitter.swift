import NIOCore
import Synchronization

/// Makes lines of the parts in which they come.
final class LineSplitter: Sendable {
    private let rest = Mutex<[UInt8]>([])
    private let onLine: @Sendable (String) -> Void

    init(_ onLine: @escaping @Sendable (String) -> Void) {
        self.onLine = onLine
    }

    func take(_ part: ByteBuffer) {
        let lines = rest.withLock { rest -> [String] in
            rest += part.readableBytesView
            guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return [] }
            let lines = rest[..<end].split(separator: UInt8(ascii: "\n")).map { String(decoding: $0, as: UTF8.self) }
            rest.removeFirst(end + 1)
            return lines
        }
        for line in lines { onLine(line) }
    }
}
