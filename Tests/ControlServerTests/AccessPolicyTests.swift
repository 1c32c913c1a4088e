import Glibc
import Testing

@testable import ControlServer

struct AccessPolicyTests {
    private func policy(admins: [String] = [], readers: [String] = [], own: UInt32 = 77) -> AccessPolicy {
        AccessPolicy(admins: admins, readers: readers, lookup: FakeAccounts(), ownUser: own)
    }

    @Test func knowsUsersAndGroups() {
        let both = policy(admins: ["@eider"], readers: ["bob"])
        #expect(both.identify(uid: 1000, gid: 1000) == AccessPolicy.Identity(name: "anna", level: .admin))
        #expect(both.identify(uid: 1001, gid: 1001) == AccessPolicy.Identity(name: "bob", level: .reader))
        #expect(both.identify(uid: 1002, gid: 1002) == AccessPolicy.Identity(name: "1002", level: .none))
        #expect(policy(admins: ["1002"]).identify(uid: 1002, gid: 5).level == .admin)
        #expect(policy(readers: ["@50"]).identify(uid: 1000, gid: 1000).level == .reader)
        // The effective group of the caller's process counts, too.
        #expect(policy(admins: ["@eider"]).identify(uid: 1001, gid: 50).level == .admin)
        #expect(policy(admins: ["@nobodys"]).identify(uid: 1000, gid: 1000).level == .none)
    }

    @Test func rootAndTheDaemonsOwnUserAreAdmins() {
        #expect(policy().identify(uid: 0, gid: 0) == AccessPolicy.Identity(name: "root", level: .admin))
        #expect(policy(own: 1001).identify(uid: 1001, gid: 1).level == .admin)
        #expect(policy().identify(uid: 1001, gid: 1).level == .none)
    }

    @Test func readsTheHostsDatabase() throws {
        let root = try #require(SystemAccounts().account(uid: 0))
        #expect(root.name == "root")
        #expect(root.groups.contains(0))
        #expect(SystemAccounts().gid(ofGroup: "root") == 0)
        #expect(SystemAccounts().account(uid: 4_000_000_001) == nil)
        #expect(SystemAccounts().gid(ofGroup: "no such group") == nil)
    }
}
