import COpenSSL
import NIOCore
import SupervisorCore

/// The hash by which Redis knows a script.
enum ScriptHash {
    /// SHA-1, in hexadecimal digits.
    static func of(_ text: String) -> String {
        let bytes = Array(text.utf8)
        var digest = [UInt8](repeating: 0, count: Int(SHA_DIGEST_LENGTH))
        SHA1(bytes, bytes.count, &digest)
        return digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}

/// The files of `[breaker.redis]`; an empty path stands for none.
struct TLSFiles: Sendable, Equatable {
    var authority = ""
    var certificate = ""
    var key = ""
}

/// The handshake is over: the peer is who it should be.
struct TLSEstablished {}

/// TLS on a channel, by OpenSSL over two buffers in memory. Everything above it sees plain bytes.
///
/// The certificate and the host name are always verified; the files are read when it is made, that is for each
/// attempt to connect.
final class TLSHandler: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let chunk = 16 << 10

    private let address: RedisAddress
    private let settings: OpaquePointer
    private let session: OpaquePointer
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer
    private var isEstablished = false
    private var hasFailed = false

    /// - Throws: of kind `tls`, naming the file that cannot be used.
    init(_ files: TLSFiles, for address: RedisAddress) throws(StoreFailure) {
        self.address = address
        ERR_clear_error()
        guard let settings = SSL_CTX_new(TLS_client_method()) else { throw Self.failure("OpenSSL: \(Self.reason())") }
        do throws(StoreFailure) {
            try Self.prepare(settings, files)
            session = try Self.session(settings, address)
        } catch {
            SSL_CTX_free(settings)
            throw error
        }
        guard let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem()) else {
            SSL_free(session)
            SSL_CTX_free(settings)
            throw Self.failure("OpenSSL: \(Self.reason())")
        }
        self.settings = settings
        self.incoming = incoming
        self.outgoing = outgoing
        // From now on they are the session's.
        SSL_set_bio(session, incoming, outgoing)
        SSL_set_connect_state(session)
    }

    deinit {
        SSL_free(session)
        SSL_CTX_free(settings)
    }

    private static func prepare(_ settings: OpaquePointer, _ files: TLSFiles) throws(StoreFailure) {
        eider_ssl_never_ask(settings)
        SSL_CTX_set_verify(settings, SSL_VERIFY_PEER, nil)
        guard eider_ssl_require_tls12(settings) == 1 else { throw failure("OpenSSL: \(reason())") }
        if files.authority.isEmpty {
            guard SSL_CTX_set_default_verify_paths(settings) == 1 else {
                throw failure("cannot read the system's certificates: \(reason())")
            }
        } else if SSL_CTX_load_verify_locations(settings, files.authority, nil) != 1 {
            throw failure("cannot use tls_ca_file \(files.authority): \(reason())")
        }
        if files.certificate.isEmpty { return }
        if SSL_CTX_use_certificate_chain_file(settings, files.certificate) != 1 {
            throw failure("cannot use tls_certificate_file \(files.certificate): \(reason())")
        }
        if SSL_CTX_use_PrivateKey_file(settings, files.key, SSL_FILETYPE_PEM) != 1
            || SSL_CTX_check_private_key(settings) != 1
        {
            throw failure("cannot use tls_key_file \(files.key): \(reason())")
        }
    }

    private static func session(
        _ settings: OpaquePointer,
        _ address: RedisAddress
    ) throws(StoreFailure) -> OpaquePointer {
        guard let session = SSL_new(settings) else { throw failure("OpenSSL: \(reason())") }
        let isNumeric = (try? SocketAddress(ipAddress: address.host, port: 0)) != nil
        let isSet: Bool
        if isNumeric {
            isSet = X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), address.host) == 1
        } else {
            SSL_set_hostflags(session, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            isSet = SSL_set1_host(session, address.host) == 1 && eider_ssl_set_server_name(session, address.host) == 1
        }
        if isSet { return session }
        SSL_free(session)
        throw failure("cannot verify a host named \(address.host)")
    }

    private static func failure(_ text: String) -> StoreFailure { StoreFailure(kind: .tls, text: text) }

    /// What OpenSSL says last; its queue is empty afterwards.
    private static func reason() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0 else { return "the connection was closed" }
        // An error of the system has no text of OpenSSL's.
        return ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(code)"
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { shakeHands(context) }
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        shakeHands(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if hasFailed { return }
        let taken = bytes.withUnsafeReadableBytes {
            BIO_write(incoming, $0.baseAddress, CInt(clamping: $0.count))
        }
        guard taken == bytes.readableBytes || bytes.readableBytes == 0 else { return fail(context, "no memory") }
        if !isEstablished { shakeHands(context) }
        if isEstablished { readAll(context) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isEstablished, !hasFailed {
            hasFailed = true
            context.fireErrorCaught(
                Self.failure("cannot talk TLS with \(address): it closed the connection during the handshake")
            )
        }
        context.fireChannelInactive()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = unwrapOutboundIn(data)
        guard isEstablished, !hasFailed else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        ERR_clear_error()
        let written = bytes.withUnsafeReadableBytes { SSL_write(session, $0.baseAddress, CInt(clamping: $0.count)) }
        guard written == bytes.readableBytes else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return fail(context, Self.reason())
        }
        if let sealed = takeOutgoing(context) { context.write(wrapOutboundOut(sealed), promise: promise) }
    }

    private func shakeHands(_ context: ChannelHandlerContext) {
        if isEstablished || hasFailed { return }
        ERR_clear_error()
        let result = SSL_do_handshake(session)
        if let bytes = takeOutgoing(context) { context.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }
        if result == 1 {
            isEstablished = true
            context.fireUserInboundEventTriggered(TLSEstablished())
        } else if SSL_get_error(session, result) != SSL_ERROR_WANT_READ {
            let verified = SSL_get_verify_result(session)
            let why = verified == X509_V_OK ? Self.reason() : String(cString: X509_verify_cert_error_string(verified))
            fail(context, why)
        }
    }

    private func readAll(_ context: ChannelHandlerContext) {
        while !hasFailed {
            var plain = context.channel.allocator.buffer(capacity: Self.chunk)
            ERR_clear_error()
            var result: CInt = 0
            plain.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.chunk) { room in
                result = SSL_read(session, room.baseAddress, CInt(clamping: min(room.count, Self.chunk)))
                return max(0, Int(result))
            }
            if let bytes = takeOutgoing(context) { context.writeAndFlush(wrapOutboundOut(bytes), promise: nil) }
            if result > 0 {
                context.fireChannelRead(wrapInboundOut(plain))
                continue
            }
            switch SSL_get_error(session, result) {
            case SSL_ERROR_WANT_READ: return
            case SSL_ERROR_ZERO_RETURN:
                hasFailed = true
                context.close(promise: nil)
            // A server that wants a certificate says so only now.
            default: fail(context, Self.reason())
            }
        }
    }

    private func takeOutgoing(_ context: ChannelHandlerContext) -> ByteBuffer? {
        let count = BIO_ctrl_pending(outgoing)
        guard count > 0 else { return nil }
        var bytes = context.channel.allocator.buffer(capacity: count)
        bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { room in
            max(0, Int(BIO_read(outgoing, room.baseAddress, CInt(clamping: count))))
        }
        return bytes
    }

    private func fail(_ context: ChannelHandlerContext, _ why: String) {
        hasFailed = true
        context.fireErrorCaught(Self.failure("cannot talk TLS with \(address): \(why)"))
        context.close(promise: nil)
    }
}
