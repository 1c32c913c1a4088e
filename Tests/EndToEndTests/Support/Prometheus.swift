import FoundationEssentials
import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

/// A real Prometheus that scrapes one daemon every second.
final class Prometheus {
    private let client: Client
    private let port: Int

    /// - Parameter target: the daemon's health port.
    init(target: Int) throws {
        client = try Client()
        port = try Ports.free(1)
        let configuration = """
            global: { scrape_interval: 1s, scrape_timeout: 1s }
            scrape_configs:
            - job_name: eider
              static_configs: [ { targets: ["127.0.0.1:\(target)"] } ]

            """
        let file = client.path + "/prometheus.yml"
        try File.write(configuration, to: file)
        try client.start(
            .prometheus,
            [
                "--config.file=\(file)", "--web.listen-address=127.0.0.1:\(port)",
                "--storage.tsdb.path=\(client.path)/data",
            ]
        )
    }

    /// Waits until a query yields what is wanted, and answers that.
    @discardableResult
    func wait(_ what: String, _ expression: String, _ isMet: (Double) -> Bool) throws -> Double {
        var last: Double?
        try client.wait(what) {
            last = try query(expression)
            return last.map(isMet) ?? false
        }
        return last ?? .nan
    }

    /// No scrape has failed.
    func checkIsUp(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let worst = try query("min_over_time(up[5m])")
        #expect(worst == 1, "a scrape failed:\n\(client.errors.suffix(2000))", sourceLocation: sourceLocation)
        let scrapes = try query("count_over_time(up[5m])") ?? 0
        #expect(scrapes >= 4, sourceLocation: sourceLocation)
    }

    /// The value of the one series that a query yields; nil when there is none or more.
    func query(_ expression: String) throws -> Double? {
        let encoded = expression.utf8.map { byte -> String in
            let isPlain = (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) || byte == 0x5F
            if isPlain { return String(UnicodeScalar(byte)) }
            let digits = String(byte, radix: 16, uppercase: true)
            return "%" + (digits.count < 2 ? "0" : "") + digits
        }.joined()
        let answer = try HTTP.get("/api/v1/query?query=\(encoded)", port: port)
        guard answer.status == 200 else { throw TestFailure("\(expression): \(answer.body)") }
        let series = try JSONDecoder().decode(QueryAnswer.self, from: Data(answer.body.utf8)).data.result
        return series.count == 1 ? series[0].value.number : nil
    }

    func stop() -> Int32 { client.stop() }
}

/// The answer of Prometheus to a query.
private struct QueryAnswer: Decodable {
    struct Series: Decodable {
        var value: Sample
    }

    /// A time, and a number as text.
    struct Sample: Decodable {
        var number: Double?

        init(from decoder: any Decoder) throws {
            var list = try decoder.unkeyedContainer()
            _ = try list.decode(Double.self)
            number = Double(try list.decode(String.self))
        }
    }

    struct Result: Decodable {
        var result: [Series]
    }

    var data: Result
}
