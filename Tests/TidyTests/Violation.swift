/// A place where a house rule is broken.
struct Violation: Equatable, CustomStringConvertible {
    var path: String
    /// From 1; 0 stands for the whole file.
    var line: Int
    var text: String

    var description: String { line == 0 ? "\(path): \(text)" : "\(path):\(line): \(text)" }
}
