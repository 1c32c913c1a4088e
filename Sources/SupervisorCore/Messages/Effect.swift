/// What to do, in the imperative: the only output of the core. The order of a list of effects is part of its meaning:
/// what is to be remembered about an act comes before the act.
public enum Effect: Sendable, Equatable {
    case spawn(InstanceID, Generation)
    /// To the main process, or with `tree` to every process of the tree.
    case signal(InstanceID, Generation, SignalNumber, tree: Bool)
    /// End every process of the tree; answered by `treeGone`.
    case endTree(InstanceID, Generation)
    /// The exit is dealt with: the shim may forget it.
    case release(InstanceID, Generation)
    case startTimer(TimerToken, at: MonotonicInstant)
    /// Run this probe from `firstAt` on, once in each period, until `unwatch`; answered by `probed`, each time.
    case watch(ProbeKey, ProbePolicy, firstAt: MonotonicInstant)
    case unwatch(ProbeKey)
    /// Look how short the host is of its resources; answered by `pressureMeasured`.
    case measurePressure
    /// Look who asks the health ports and what each was told; answered by `probersSeen`.
    case lookAtProbers
    /// Count connections on the ports of these services; answered by `connectionsCounted`.
    case countConnections([String])
    case cancelTimer(TimerToken)
    /// Have the shim remember the instance, over the daemon's death; nil has it forgotten.
    case remember(InstanceID, RememberedInstance?)
    case rememberNode(RememberedNode)
    /// Have the shim remember the breakers, over the daemon's death.
    case rememberBreakers(RememberedBreakers)
    /// Ask the shared store; answered by `storeSaid`.
    case askStore(StoreRequest)
    /// Look whether the programs of these services were replaced; answered by `releasesIdentified`, where they were.
    case identifyReleases([String])
    /// Keep what operators asked for on disk, over a reboot.
    case saveIntents(Intents)
    /// Tell operators: an event for `events` and `why`.
    case record(subject: String?, kind: String, text: String)
    case finishOperation(OperationID, OperationResult)
    /// Every instance has become ready once, or its first attempt is over.
    case announceFirstStart
    /// Nothing of the fleet is left: have the shim exit, then exit.
    case finishShutdown
}
