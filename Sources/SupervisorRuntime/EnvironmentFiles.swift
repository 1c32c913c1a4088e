import FleetConfig
import LinuxPlatform
import SupervisorCore

/// What the `environment_files` of services say. A file is read for the first start that needs it and then remembered,
/// so that a restart does not wait for a disk; one that cannot be used is read anew at each attempt.
final class EnvironmentFiles {
    /// Why a service cannot be started with its files.
    struct Problem: Error {
        var failure: SpawnFailure
        /// One sentence for people, with the line where there is one.
        var text: String
    }

    /// EINVAL: what a malformed file counts as.
    private static let malformed: Int32 = 22

    private var known: [String: [EnvironmentVariable]] = [:]

    /// The variables of all files of the service, in order: of two with one name the later counts.
    func variables(of service: ServiceSpec) throws(Problem) -> [EnvironmentVariable] {
        if service.environmentFiles.isEmpty { return [] }
        if let variables = known[service.name] { return variables }
        var variables: [EnvironmentVariable] = []
        for path in service.environmentFiles { variables += try read(path) }
        known[service.name] = variables
        return variables
    }

    private func read(_ path: String) throws(Problem) -> [EnvironmentVariable] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try SmallFile.read(path, limit: EnvironmentFile.sizeLimit)
        } catch {
            let failure = SpawnFailure(stage: .prepare, errno: error.errno, path: path)
            throw Problem(failure: failure, text: "cannot use its environment file: \(error)")
        }
        do throws(EnvironmentFile.Problem) {
            return try EnvironmentFile.parse(bytes)
        } catch {
            let failure = SpawnFailure(stage: .prepare, errno: Self.malformed, path: path)
            let place = "\(path):\(error.line)"
            throw Problem(failure: failure, text: "cannot use its environment file \(place): \(error.text)")
        }
    }
}
