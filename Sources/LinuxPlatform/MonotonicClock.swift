import CLinux
public import SupervisorCore

/// The host's clocks.
public enum MonotonicClock {
    /// CLOCK_MONOTONIC.
    public static func now() -> MonotonicInstant {
        MonotonicInstant(nanoseconds: clinux_clock(1))
    }

    /// What to add to the nanoseconds of a `MonotonicInstant` to have nanoseconds since 1970. For display only: it
    /// changes whenever somebody sets the clock.
    public static func wallClockOffset() -> Int64 {
        clinux_clock(0) &- clinux_clock(1)
    }

    /// CLOCK_BOOTTIME in milliseconds: what the start times of processes are measured in.
    public static func bootMilliseconds() -> Int64 {
        clinux_clock(7) / 1_000_000
    }
}
