import LinuxPlatform
import StatusBoard
import SupervisorCore

/// A drain that somebody wants planned.
struct DrainPlanRequest {
    var request: DrainRequest
    var reply: @Sendable (DrainPlan) -> Void
}

// What drains need to know of the world.
extension Supervisor {
    /// Drains that wait to be planned.
    private static let mostPlans = 64

    /// Plans a drain once it is known who probes us.
    func plan(_ request: DrainPlanRequest) {
        if plans.count >= Self.mostPlans { return request.reply(.refused("too many ask at once; try again")) }
        plans.append(request)
        askProbers()
    }

    func probersSeen(_ sightings: [ProberSighting]) {
        let waiting = plans
        plans = []
        for plan in waiting {
            let (status, refusal) = machine.planDrain(plan.request, by: "", sightings, at: MonotonicClock.now())
            if let status {
                plan.reply(.admitted(status))
            } else {
                plan.reply(.refused(refusal ?? "it cannot be planned"))
            }
        }
        receive(.probersSeen(sightings))
    }
}
