import Glibc
import LinuxPlatform
import SupervisorCore

/// A real nginx that passes everything on to one group of servers.
final class Nginx {
    private let client: Client
    let url: String

    /// Its log of errors, warnings included.
    var errors: String { client.errors }
    var errorLines: Int { errors.split(separator: "\n").count }

    /// - Parameters:
    ///   - upstream: the group as nginx's manual has it.
    ///   - name: the group's name.
    init(_ upstream: String, to name: String) throws {
        client = try Client()
        let path = client.path
        let port = try Ports.free(1)
        url = "http://127.0.0.1:\(port)"
        let text = """
            daemon off; master_process off; pid \(path)/nginx.pid; error_log stderr warn;
            events { worker_connections 1024; }
            http {
                access_log off; \(Self.temporaryPaths(path))
                \(upstream)
                server {
                    listen 127.0.0.1:\(port);
                    keepalive_requests 1000000;
                    location / {
                        proxy_pass http://\(name); proxy_http_version 1.1; proxy_set_header Connection "";
                    }
                }
            }

            """
        try File.write(text, to: path + "/nginx.conf")
        try client.start(.nginx, ["-p", path, "-c", path + "/nginx.conf"])
        try client.wait("nginx listens") { try HTTP.get("/", port: port).status == 200 }
    }

    /// Where it may put what it cannot hold.
    static func temporaryPaths(_ path: String) -> String {
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map { "\($0)_temp_path \(path)/\($0);" }
            .joined(separator: " ")
    }
}
