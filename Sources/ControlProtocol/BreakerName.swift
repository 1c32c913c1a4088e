public import SupervisorCore

/// How breakers are named (INTERFACE.md §1).
public enum BreakerName {
    /// `service:NAME@RELEASE`: what is known of one release's crashes must not hold back the next.
    public static func service(_ service: ServiceSpec) -> String {
        "service:\(service.name)@\(ReleaseName.configured(service))"
    }
}
