import Glibc
import LinuxPlatform
import SupervisorCore
import Testing

extension EndToEnd {
    /// Clients that ask and look at the answer: nginx and curl.
    @Suite(.serialized) struct RequestTests {
        /// N3. nginx asks with HTTP/1.0 by default, and with pooled connections when it is told to.
        @Test func nginxPassesHealthOn() throws {
            let fleet = try ClientFleet.started()
            let port = try fleet.healthPort()
            let nginx = try Client()
            let front = try Ports.free(1)
            try File.write(Self.nginx(front, behind: port, nginx.path), to: nginx.path + "/nginx.conf")
            try nginx.start(.nginx, ["-p", nginx.path, "-c", nginx.path + "/nginx.conf"])
            try nginx.wait("nginx listens") { try HTTP.get("/plain/livez", port: front).status == 200 }
            let before = try Footprint(fleet)
            for _ in 0..<20 {
                let plain = try HTTP.get("/plain/health/orders", port: front)
                #expect(plain.status == 200 && plain.body.hasPrefix("{\"status\":\"pass\""), "\(plain)")
            }
            let between = try Footprint(fleet)
            // Each was a connection of its own; one more was that of the first look at the metrics.
            #expect(between.closed("normal", since: before) == 21)
            #expect(between.connections == 1)
            for _ in 0..<20 { #expect(try HTTP.get("/kept/health/orders", port: front).status == 200) }
            let after = try Footprint(fleet)
            #expect(after.closed("normal", since: between) == 1, "pooled connections were closed")
            #expect(after.connections == 2)
            try ClientFleet.control(fleet, "stop", "orders")
            for way in ["plain", "kept"] {
                #expect(try HTTP.get("/\(way)/health/orders", port: front).status == 503)
            }
            #expect(nginx.errors.isEmpty, "\(nginx.errors)")
            #expect(nginx.stop(SIGQUIT) == 0)
            fleet.stopAndCheck()
        }

        private static func nginx(_ front: Int, behind port: Int, _ path: String) -> String {
            let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                .map { "\($0)_temp_path \(path)/\($0);" }.joined(separator: " ")
            return """
                daemon off; master_process off; pid \(path)/nginx.pid; error_log stderr warn;
                events { worker_connections 256; }
                http {
                    access_log off; \(temporary)
                    upstream eider { server 127.0.0.1:\(port); keepalive 4; }
                    server {
                        listen 127.0.0.1:\(front);
                        location /plain/ { proxy_pass http://127.0.0.1:\(port)/; }
                        location /kept/ {
                            proxy_pass http://eider/; proxy_http_version 1.1; proxy_set_header Connection "";
                        }
                    }
                }

                """
        }

        /// N3. The other side of it: after an answer to HTTP/1.0 it is we who close.
        @Test func weCloseAfterHTTP10() throws {
            let fleet = try ClientFleet.started()
            for field in ["", "Host: 127.0.0.1\r\nConnection: close\r\n"] {
                let connection = try Connection(port: fleet.healthPort())
                connection.send("GET /health/orders HTTP/1.0\r\n\(field)\r\n")
                let bytes = try #require(connection.read(.seconds(2)), "the connection was not closed")
                #expect(try Answer(bytes).status == 200)
            }
            fleet.stopAndCheck()
        }

        /// C1. curl's ways to ask.
        @Test func curlAsksInEveryWay() throws {
            let fleet = try ClientFleet.started()
            let url = "http://127.0.0.1:\(try fleet.healthPort())/health/orders"
            let plain = try curl("-i", url)
            #expect(plain.output.hasPrefix("HTTP/1.1 200 OK\r\n") && plain.output.contains("\"status\":\"pass\""))
            let head = try curl("-I", url)
            #expect(head.output.hasPrefix("HTTP/1.1 200 OK\r\n") && head.output.hasSuffix("\r\n\r\n"), "\(head.output)")
            let old = try curl("-i", "-0", url)
            #expect(old.output.hasPrefix("HTTP/1.1 200 OK\r\n") && old.output.contains("\"status\":\"pass\""))
            let options = try curl("-i", "-X", "OPTIONS", url)
            #expect(options.output.hasPrefix("HTTP/1.1 200 OK\r\n"), "\(options.output)")
            #expect(
                options.output.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n") && options.output.hasSuffix("\r\n\r\n")
            )
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                let refused = try curl("-i", "-X", method, "-d", "x=1", url)
                #expect(refused.output.hasPrefix("HTTP/1.1 405 "), "\(method): \(refused.output)")
                #expect(refused.output.contains("\r\nAllow: GET, HEAD, OPTIONS\r\n"), "\(refused.output)")
            }
            let nameless = try curl("-i", "-H", "Host:", url)
            #expect(
                nameless.output.hasPrefix("HTTP/1.1 400 ") && nameless.output.contains("Host"),
                "\(nameless.output)"
            )
            let unknown = try curl("-i", url + "x")
            #expect(unknown.output.hasPrefix("HTTP/1.1 404 "))
            let watch = Stopwatch()
            let preface = try Tool.curl.run("-sS", "-m", "5", "--http2-prior-knowledge", url)
            // 28 would be a timeout.
            #expect(![0, 28].contains(preface.exitCode), "\(preface)")
            #expect(watch.seconds < 3 && preface.output.isEmpty)
            fleet.stopAndCheck()
        }

        private func curl(_ arguments: String...) throws -> Command {
            let result = try Tool.curl.run(["-sS", "-m", "10"] + arguments)
            #expect(result.exitCode == 0 && result.errors.isEmpty, "\(arguments): \(result.errors)")
            return result
        }

        /// C2. Scripts go by curl's exit code: healthy and degraded serve, stopped does not.
        @Test func curlsExitCodeIsTheVerdict() throws {
            let fleet = try Fleet(ClientFleet.services + ClientFleet.halves)
            try fleet.start()
            try fleet.wait("one half is up") { status in
                status.node.first_start_finished
                    && status.services.contains { $0.name == "halves" && $0.state == "degraded" }
            }
            let base = "http://127.0.0.1:\(try fleet.healthPort())"
            func code(_ path: String) throws -> Int32 { try Tool.curl.run("-sf", "-m", "10", base + path).exitCode }
            #expect(try code("/health/orders") == 0)
            #expect(try code("/health/halves") == 0)
            #expect(try code("/readyz") == 0)
            try ClientFleet.control(fleet, "stop", "orders", "store")
            for path in ["/health/orders", "/health/orders/0", "/readyz", "/", "/nonsense"] {
                #expect(try code(path) == 22, "\(path)")
            }
            for path in ["/livez", "/metrics", "/health/halves"] { #expect(try code(path) == 0, "\(path)") }
            fleet.stopAndCheck()
            #expect(try code("/livez") == 7)
        }

        /// C3. What curl gets is JSON as the contract has it, to another reader than ours.
        @Test func jqReadsTheAnswers() throws {
            let fleet = try Fleet(ClientFleet.services + ClientFleet.halves)
            try fleet.start()
            try fleet.wait("one half is up") { status in
                status.services.contains { $0.name == "halves" && $0.state == "degraded" }
            }
            let base = "http://127.0.0.1:\(try fleet.healthPort())"
            try ClientFleet.control(fleet, "stop", "store", "--reason", "a \"quoted\" \\ reason")
            for (path, wants) in [
                ("/health", #".status == "fail" and .state == "unhealthy" and (.reason | contains("store"))"#),
                ("/health/orders", #".status == "pass" and .service == "orders" and .ready == 2"#),
                ("/health/halves", #".status == "warn" and .state == "degraded" and .ready == 1 and .desired == 2"#),
                (
                    "/health/store",
                    #".status == "fail" and .state == "stopped" and (.reason | contains("a \"quoted\" \\ reason"))"#
                ),
                ("/health/orders/1", #".status == "pass" and .instance == 1"#),
            ] {
                for query in ["", "?verbose"] {
                    let body = fleet.path + "/answer.json"
                    #expect(try Tool.curl.run("-s", "-m", "10", "-o", body, base + path + query).exitCode == 0)
                    #expect(query.isEmpty == false || File.size(body) < 512, "\(path)")
                    for program in [Self.schema, wants] {
                        let verdict = try Tool.jq.run("-e", program, body)
                        let text = File.text(body)
                        #expect(verdict.exitCode == 0, "\(path)\(query): \(verdict.errors)\n\(text)\n\(program)")
                    }
                }
            }
            fleet.stopAndCheck()
        }

        /// The shape of every answer of `/health`: which members, in which order at the start, of which types.
        private static let schema = #"""
            def time: test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(Z|[+-][0-9:]+)$");
            keys_unsorted[0] == "status"
            and (.status | IN("pass", "warn", "fail"))
            and (.state | IN("stopped", "drained", "draining", "starting", "unhealthy", "breaker-open", "degraded",
                "healthy", "backoff", "stopping", "failed"))
            and (.service | type == "string") and (.since | time)
            and ([.ready, .desired] | all(type == "number" and . >= 0 and . == floor))
            and (if has("reason") then .reason | type == "string" and length > 0 else true end)
            """#
    }
}
