import ArgumentParser
import NIOHTTP1

struct Upgrade: Verb {
    static let configuration = CommandConfiguration(
        abstract: "Replace the running daemon by the program on disk; workers are not touched."
    )

    @OptionGroup var global: GlobalOptions

    func run() throws {
        try show(client.ask(.POST, "/v1/upgrade", patient: true)) { _ in "eiderd: upgraded\n" }
    }
}
