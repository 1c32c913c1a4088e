import SupervisorCore

/// Names of dependencies as text, by their bytes: a name that was met lately costs neither an allocation nor a check.
/// A table of fixed size where two names with the same place take turns.
struct CallNames {
    private static let places = 256

    private var entries = [String?](repeating: nil, count: CallNames.places)

    /// nil for what cannot be a name.
    mutating func name(_ bytes: UnsafeRawBufferPointer) -> String? {
        // FNV-1a. Who makes names collide makes them a little slower, and no more.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let place = Int(truncatingIfNeeded: (hash ^ hash >> 32) % UInt64(Self.places))
        if let known = entries[place], Self.equal(known, bytes) { return known }
        guard let text = String(validating: bytes, as: UTF8.self), DependencyName.isValid(text),
            !text.unicodeScalars.contains(where: Self.cannotBeShown)
        else { return nil }
        entries[place] = text
        return text
    }

    private static func equal(_ name: String, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard name.utf8.count == bytes.count else { return false }
        return name.utf8.elementsEqual(bytes)
    }

    /// What would steer a terminal, or look like another name.
    private static func cannotBeShown(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .spaceSeparator, .surrogate, .unassigned,
            .privateUse:
            true
        default: false
        }
    }
}
