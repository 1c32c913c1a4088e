/// A rule that was broken, in one sentence.
package struct ShadowViolation: Error, CustomStringConvertible {
    package var description: String

    package init(_ description: String) {
        self.description = description
    }
}
