/// A request that was not carried out, as it is answered: an HTTP status and `{"error":{"code","message"}}`.
public struct ControlError: Error, Sendable, Equatable {
    /// What went wrong, for machines. The raw value is what stands in the JSON.
    public enum Code: String, Sendable, CaseIterable {
        case badRequest = "bad-request"
        case notPermitted = "not-permitted"
        case unknownTarget = "unknown-target"
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case refused
        case tooLarge = "too-large"
        /// The configuration has errors; each is a line of the message.
        case invalidConfiguration = "invalid-configuration"
        case failed
        case busy

        /// The HTTP status that goes with it.
        public var httpStatus: Int {
            switch self {
            case .badRequest: 400
            case .notPermitted: 403
            case .unknownTarget, .notFound: 404
            case .methodNotAllowed: 405
            case .refused: 409
            case .tooLarge: 413
            case .invalidConfiguration: 422
            case .failed: 500
            case .busy: 503
            }
        }
    }

    public var code: Code
    /// For people: what cannot be done, why, and what to do next.
    public var message: String
    /// For `methodNotAllowed`: the methods that the path takes.
    public var allow: [String]

    public init(_ code: Code, _ message: String, allow: [String] = []) {
        self.code = code
        self.message = message
        self.allow = allow
    }

    /// `{"error":{"code","message"}}`
    public var json: [UInt8] {
        var writer = JSONWriter()
        writer.object { writer in
            writer.member(
                "error",
                object: { error in
                    error.member("code", code.rawValue)
                    error.member("message", message)
                }
            )
        }
        return writer.bytes
    }
}
