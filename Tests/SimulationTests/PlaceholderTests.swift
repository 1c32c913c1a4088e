import Testing

@testable import Simulation

struct PlaceholderTests { @Test func nothing() {} }
