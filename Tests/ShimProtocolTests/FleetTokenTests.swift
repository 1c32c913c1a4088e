import ShimProtocol
import SupervisorCore
import Testing

@Suite("The fleet's token")
struct FleetTokenTests {
    @Test("only 16 lower-case hexadecimal digits are a token")
    func parsing() {
        #expect(FleetToken(kept: "00000000000000ff") == FleetToken(value: 255))
        for text in ["", "ff", "00000000000000FF", "+0000000000000ff", "00000000000000ff0", "00000000000000f\u{0}"] {
            #expect(FleetToken(kept: text) == nil)
        }
        #expect(FleetToken(value: 255).description == "00000000000000ff")
        #expect(FleetToken(value: 255).socketName == "@eider-shim-00000000000000ff")
        #expect(FleetToken(value: .max).mark(InstanceID(service: "a", index: 1), 2) == "ffffffffffffffff:a/1:2")
    }

    @Test("the kept token comes first, and the hash of the path still counts")
    func candidates() {
        let hashed = FleetToken(hashing: "/var/lib/eider", namespace: 7)
        let kept = FleetToken(value: 1)
        #expect(FleetToken.candidates(kept: "\(kept)", directory: "/var/lib/eider", namespace: 7) == [kept, hashed])
        for text in [nil, "", "damaged", "\(hashed)"] {
            #expect(FleetToken.candidates(kept: text, directory: "/var/lib/eider", namespace: 7) == [hashed])
        }
        #expect(FleetToken(hashing: "/var/lib/eider", namespace: 8) != hashed)
        #expect(FleetToken(hashing: "/var/lib/eider2", namespace: 7) != hashed)
    }
}
