import Glibc
import NIOCore
import SupervisorCore
import Testing

@testable import ControlServer

let geteuidNumber = geteuid()
let getpidNumber = getpid()

@Suite(.timeLimit(.minutes(2)))
struct StreamTests {
    private func follow(_ harness: Harness, _ uri: String) throws -> Client {
        let client = try harness.client()
        try client.send("GET \(uri) HTTP/1.1\r\nHost: x\r\n\r\n")
        let (status, headers) = try client.readHead()
        #expect(status == 200)
        #expect(headers["content-type"] == "application/x-ndjson")
        #expect(headers["transfer-encoding"] == "chunked")
        return client
    }

    @Test func givesTheLastLines() async throws {
        let harness = try await Harness()
        for number in 1...300 { harness.port.ring.say("line \(number)") }
        harness.port.ring.say("other", InstanceID(service: "event-bus", index: 0))
        let all = try harness.ask("GET", "/v1/logs")
        #expect(all.body.split(separator: "\n").count == 100)
        let two = try harness.ask("GET", "/v1/services/auth/0/logs?lines=2").body
        #expect(
            two == #"{"sequence":299,"at":"2026-11-21T08:13:44.120Z","instance":"auth/0","text":"line 299"}"# + "\n"
                + #"{"sequence":300,"at":"2026-11-21T08:13:44.120Z","instance":"auth/0","text":"line 300"}"# + "\n"
        )
        #expect(try harness.ask("GET", "/v1/logs/auth/1").body.isEmpty)
        #expect(try harness.ask("GET", "/v1/logs?after=299").body.split(separator: "\n").count == 2)
        try await harness.stop()
    }

    @Test func givesWhatOnlyTheFilesHave() async throws {
        let harness = try await Harness()
        let ring = harness.port.ring
        // As after an upgrade: the daemon's own memory begins with a few lines of another service.
        ring.say("gone", count: 1_000)
        ring.say("other", InstanceID(service: "event-bus", index: 0), count: 1_000)
        for number in 1...40 { ring.said("old \(number)", sequence: UInt64(number)) }
        let texts = { (body: String) in body.split(separator: "\n").map(String.init) }
        let all = texts(try harness.ask("GET", "/v1/logs/auth").body)
        #expect(all.count == 40)
        #expect(all.first?.contains(#""text":"old 1""#) == true && all.last?.contains(#""text":"old 40""#) == true)
        ring.say("new")
        let mixed = texts(try harness.ask("GET", "/v1/logs/auth?lines=3").body)
        #expect(mixed.map { $0.contains("old") } == [true, true, false])
        // Nothing was left out because of the reader.
        for uri in ["/v1/logs?lines=1020", "/v1/logs/auth", "/v1/logs/event-bus", "/v1/logs/event-bus?lines=2000"] {
            #expect(try !harness.ask("GET", uri).body.contains("dropped"), "\(uri)")
        }
        let client = try follow(harness, "/v1/logs/auth?follow=true&lines=2")
        var followed = try client.readChunk()
        if texts(followed).count < 2 { followed += try client.readChunk() }
        #expect(texts(followed).count == 2 && !followed.contains("dropped"))
        #expect(followed.contains("old 40") && followed.contains("new"))
        ring.say("newer")
        #expect(try client.readChunk().contains("newer"))
        // One who goes on from where it was is told what it missed.
        #expect(try harness.ask("GET", "/v1/logs?after=5").body.hasPrefix(#"{"dropped":"#))
        try await harness.stop()
    }

    @Test func followsLogs() async throws {
        let harness = try await Harness()
        harness.port.ring.say("before")
        let client = try follow(harness, "/v1/logs/auth?follow=true")
        #expect(try client.readChunk().contains("before"))
        harness.port.ring.say("not this", InstanceID(service: "event-bus", index: 0))
        harness.port.ring.say("after")
        #expect(try client.readChunk().contains(#""text":"after""#))
        try await harness.stop()
    }

    @Test func givesTheStateFirstThenEvents() async throws {
        let harness = try await Harness()
        harness.port.history.happen("started", "auth/0")
        let client = try follow(harness, "/v1/events?follow=true")
        let snapshot = try client.readChunk()
        #expect(snapshot.hasPrefix(#"{"snapshot":{"at":"#))
        #expect(snapshot.hasSuffix(#"},"sequence":1}"# + "\n"))
        harness.port.history.happen("exited", "auth/0")
        #expect(
            try client.readChunk()
                == #"{"sequence":2,"at":"2026-11-21T08:13:44.120Z","subject":"auth/0","kind":"exited","#
                + #""text":"auth/0 exited"}"# + "\n"
        )
        #expect(try harness.ask("GET", "/v1/events").body.split(separator: "\n").count == 2)
        #expect(try harness.ask("GET", "/v1/events/event-bus").body.isEmpty)
        try await harness.stop()
    }

    @Test func skipsASlowFollowerForward() async throws {
        let harness = try await Harness()
        harness.port.ring.say("first")
        let client = try follow(harness, "/v1/logs?follow=true")
        #expect(try client.readChunk().contains("first"))
        // Far more than the socket and the memory hold, in portions so that the server looks in between.
        let text = String(repeating: "y", count: 500)
        for _ in 0..<40 { harness.port.ring.say(text, count: 100) }
        #expect(await eventually { harness.port.ring.ring.observerCount == 1 })
        harness.port.ring.say("last")
        var last: UInt64 = 1
        var dropped: UInt64 = 0
        var rest = ""
        var done = false
        while !done {
            rest += try client.readChunk()
            while let end = rest.firstIndex(of: "\n") {
                let line = rest[..<end]
                rest = String(rest[rest.index(after: end)...])
                if line.hasPrefix(#"{"dropped":"#) {
                    let count = try #require(UInt64(line.dropFirst(11).dropLast()))
                    dropped += count
                    last += count
                } else {
                    last += 1
                    #expect(line.hasPrefix(#"{"sequence":\#(last),"#))
                    if line.contains(#""text":"last""#) { done = true }
                }
            }
        }
        #expect(last == 4002)
        #expect(dropped > 0)
        try await harness.stop()
    }

    @Test func forgetsAFollowerThatLeft() async throws {
        let harness = try await Harness()
        do {
            let client = try follow(harness, "/v1/logs?follow=true")
            #expect(await eventually { harness.port.ring.ring.observerCount == 1 })
            _ = client
        }
        #expect(await eventually { harness.port.ring.ring.observerCount == 0 })
        try await harness.stop()
    }

    @Test func closesAFollowerThatTakesNothing() async throws {
        var limits = ControlLimits()
        limits.followerStall = .milliseconds(100)
        let harness = try await Harness(limits: limits)
        let client = try follow(harness, "/v1/logs?follow=true")
        #expect(await eventually { harness.port.ring.ring.observerCount == 1 })
        harness.port.ring.say(String(repeating: "z", count: 4_000), count: 1_000)
        #expect(await eventually { harness.port.ring.ring.observerCount == 0 })
        _ = client
        try await harness.stop()
    }

    @Test func stopEndsFollowers() async throws {
        let harness = try await Harness()
        let client = try follow(harness, "/v1/logs?follow=true")
        try await harness.stop()
        _ = client.readToEnd()
        #expect(harness.port.ring.ring.observerCount == 0)
    }
}
