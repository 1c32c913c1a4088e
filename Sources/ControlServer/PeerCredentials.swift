import NIOCore

/// `struct ucred` of Linux, as SO_PEERCRED fills it in.
struct PeerCredentials: Sendable, Equatable {
    var pid: Int32 = 0
    var uid: UInt32 = 0
    var gid: UInt32 = 0

    // SOL_SOCKET and SO_PEERCRED, as on x86-64 and arm64.
    private static let level = NIOBSDSocket.OptionLevel.socket
    private static let option = NIOBSDSocket.Option(rawValue: 17)

    /// Who is at the other end of `channel`, by the kernel's word.
    static func of(_ channel: any Channel) -> EventLoopFuture<PeerCredentials> {
        guard let provider = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        return provider.unsafeGetSocketOption(level: level, name: option)
    }
}
