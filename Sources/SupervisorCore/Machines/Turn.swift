/// The effects of one event, while they are being decided.
struct Turn {
    let now: MonotonicInstant
    /// Acts, in order.
    var effects: [Effect] = []
    /// What operators are told; done after the acts.
    var notes: [Effect] = []
    var generator: SeededGenerator

    init(now: MonotonicInstant, generator: SeededGenerator) {
        self.now = now
        self.generator = generator
    }

    mutating func act(_ effect: Effect) {
        effects.append(effect)
    }

    /// - Parameter subject: an instance or a service; nil for the node.
    mutating func tell(_ subject: String?, _ kind: String, _ text: String) {
        notes.append(.record(subject: subject, kind: kind, text: text))
    }

    mutating func note(_ subject: InstanceID?, _ kind: String, _ text: String) {
        notes.append(.record(subject: subject?.description, kind: kind, text: text))
    }
}
