/// What a configuration needs to know of the host it is read on. Tests bring a host of their own.
public protocol HostFacts: Sendable {
    var hostName: String { get }
    /// Who this process acts as.
    var effectiveUser: UInt32 { get }
    var effectiveGroup: UInt32 { get }

    /// The bytes of a regular file that has at most `limit` of them.
    func read(_ path: String, limit: Int) -> Result<[UInt8], FileProblem>
    /// The names in a directory, in no particular order.
    func names(in directory: String) -> Result<[String], FileProblem>
    func facts(of path: String) -> Result<FileFacts, FileProblem>
    /// The account with this name, or this number where `name` is one; nil when there is none.
    func user(_ name: String) -> Result<UserAccount?, FileProblem>
    /// The number of the group with this name, or this number; nil when there is none.
    func group(_ name: String) -> Result<UInt32?, FileProblem>
    /// Every group that the user is in.
    func groups(of user: UserAccount, primary: UInt32) -> [UInt32]
}

/// An entry of the user database.
public struct UserAccount: Sendable, Hashable {
    public var name: String
    public var uid: UInt32
    public var gid: UInt32

    public init(name: String, uid: UInt32, gid: UInt32) {
        self.name = name
        self.uid = uid
        self.gid = gid
    }
}

/// What kind of file there is.
public struct FileFacts: Sendable, Hashable {
    public var isDirectory: Bool
    /// It is a regular file that somebody may execute.
    public var isExecutable: Bool
    /// Anybody may read it.
    public var isPublic: Bool

    public init(isDirectory: Bool, isExecutable: Bool, isPublic: Bool = false) {
        self.isDirectory = isDirectory
        self.isExecutable = isExecutable
        self.isPublic = isPublic
    }
}

/// Why a file cannot be had.
public enum FileProblem: Error, Sendable, Hashable, CustomStringConvertible {
    case missing
    case notPermitted
    case isDirectory
    case notRegular
    /// It has more bytes than these.
    case tooLarge(limit: Int)
    /// Anything else, by `errno`, and its text.
    case system(Int32, String)

    /// A clause that begins with "it".
    public var description: String {
        switch self {
        case .missing: "it does not exist"
        case .notPermitted: "it may not be read by this user"
        case .isDirectory: "it is a directory"
        case .notRegular: "it is not a regular file"
        case .tooLarge(let limit): "it has more than \(SizeText.render(UInt64(max(0, limit))))"
        case .system(let number, let text): "the system says \"\(text)\" (errno \(number))"
        }
    }
}
