public import SupervisorCore

/// The answers to one packet, one line each, in a buffer that is used again and again.
public struct CallReply: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {
        bytes.reserveCapacity(CallRequest.Limits.packetBytes)
    }

    public var isEmpty: Bool { bytes.isEmpty }

    /// Begins anew, in the same memory.
    public mutating func clear() {
        bytes.removeAll(keepingCapacity: true)
    }

    /// - Parameter answer: nil where no breaker counts the call: it may be made, and 0 is no generation.
    public mutating func append(_ answer: CallAnswer?) {
        switch answer {
        case nil: append("ok ", 0)
        case .allowed(let generation)?: append("ok ", generation)
        case .probe(let token)?: append("probe ", token)
        case .denied(let milliseconds, let reason)?:
            append("deny ", UInt64(max(0, milliseconds)))
            bytes.append(32)
            bytes.append(contentsOf: reason.utf8)
        }
        bytes.append(10)
    }

    public mutating func append(_ fault: CallRequest.Fault) {
        append("error ")
        bytes.append(contentsOf: fault.rawValue.utf8)
        bytes.append(10)
    }

    private mutating func append(_ word: StaticString, _ number: UInt64) {
        append(word)
        if number >= 10 { appendDigits(number / 10) }
        bytes.append(48 + UInt8(number % 10))
    }

    private mutating func append(_ word: StaticString) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: word.utf8Start, count: word.utf8CodeUnitCount))
    }

    private mutating func appendDigits(_ number: UInt64) {
        if number >= 10 { appendDigits(number / 10) }
        bytes.append(48 + UInt8(number % 10))
    }
}
