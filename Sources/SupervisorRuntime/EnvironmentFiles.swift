import FleetConfig
import LinuxPlatform
import SupervisorCore

/// What the `environment_files` of services say. A file is read for the first start that needs it and then remembered,
/// so that a restart does not wait for a disk; one that cannot be used is read anew at each attempt.
final class EnvironmentFiles {
    /// EINVAL: what a malformed file counts as.
    private static let malformed: Int32 = 22

    private var known: [String: [EnvironmentVariable]] = [:]

    /// The variables of all files of the service, in order: of two with one name the later counts.
    func variables(of service: ServiceSpec) throws(StartProblem) -> [EnvironmentVariable] {
        if service.environmentFiles.isEmpty { return [] }
        if let variables = known[service.name] { return variables }
        var variables: [EnvironmentVariable] = []
        for path in service.environmentFiles { variables += try read(path) }
        known[service.name] = variables
        return variables
    }

    private func read(_ path: String) throws(StartProblem) -> [EnvironmentVariable] {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try SmallFile.read(path, limit: EnvironmentFile.sizeLimit)
        } catch {
            let failure = SpawnFailure(stage: .prepare, errno: error.errno, path: path)
            throw StartProblem(failure: failure, text: "cannot use its environment file: \(error)")
        }
        do throws(EnvironmentFile.Problem) {
            return try EnvironmentFile.parse(bytes)
        } catch {
            let failure = SpawnFailure(stage: .prepare, errno: Self.malformed, path: path)
            let place = "\(path):\(error.line)"
            throw StartProblem(failure: failure, text: "cannot use its environment file \(place): \(error.text)")
        }
    }
}
