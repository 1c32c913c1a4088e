internal import CLinux

/// Descriptors that are waited for together; see epoll(7). Level-triggered.
public struct EventQueue: ~Copyable {
    public struct Event: Sendable {
        /// What was given with the descriptor.
        public var token: UInt64
        public var isReadable: Bool
        public var isWritable: Bool
    }

    private let descriptor: Descriptor
    private var raw = [clinux_event](repeating: clinux_event(), count: 64)

    public init() throws(SystemError) {
        descriptor = Descriptor(try SystemError.check(clinux_epoll_create(), "create an event queue"))
    }

    /// Adds a descriptor, always watched for reading.
    public func add(_ descriptor: Int32, token: UInt64, writable: Bool = false) throws(SystemError) {
        try SystemError.check(
            clinux_epoll_control(self.descriptor.rawValue, 1, descriptor, writable ? 5 : 1, token),
            "watch a descriptor"
        )
    }

    /// Changes whether the descriptor is watched for writing too.
    public func change(_ descriptor: Int32, token: UInt64, writable: Bool) throws(SystemError) {
        try SystemError.check(
            clinux_epoll_control(self.descriptor.rawValue, 3, descriptor, writable ? 5 : 1, token),
            "watch a descriptor"
        )
    }

    /// Ends the watch of a descriptor.
    public func remove(_ descriptor: Int32) {
        _ = clinux_epoll_control(self.descriptor.rawValue, 2, descriptor, 0, 0)
    }

    /// Waits for at most `nanoseconds` (nil: until something happens). Errors and hangups count as readable.
    public mutating func wait(nanoseconds: Int64?) throws(SystemError) -> [Event] {
        let result = clinux_epoll_wait(descriptor.rawValue, &raw, raw.count, nanoseconds.map { max(0, $0) } ?? -1)
        if result == -4 { return [] }
        let count = Int(try SystemError.check(result, "wait for events"))
        return raw.prefix(count).map {
            Event(token: $0.data, isReadable: $0.events & ~4 != 0, isWritable: $0.events & 4 != 0)
        }
    }
}
