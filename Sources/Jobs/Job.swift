// SPDX-License-Identifier: Apache-2.0

/// One claimed job: what a worker receives, and the lease that proves it may answer for it.
package struct Job: Sendable {
    package let id: Int
    package let queue: String
    package let runID: Int?
    /// The fan-out it is a member of.
    package let groupID: Int?
    /// The fencing token: one number per claim, never reused.
    package let lease: Int
    /// Smaller numbers are taken first.
    package let priority: Int
    package let kind: String
    package let name: String
    /// A JSON object.
    package let args: String
    /// 1 for the first attempt.
    package let attempt: Int
    package let maxAttempts: Int
    /// What an earlier attempt left with `JobContext.checkpoint`, a JSON object.
    package let checkpoint: String?
    /// The worker stops a job that reports nothing for so long.
    package let stallAfter: Duration?

    package var place: QueuePlace { QueuePlace(priority: priority, id: id) }
}

extension Job {
    /// Work of a kind that stands in no queue, done by whoever asks for it.
    package init(kind: String, name: String, run: Int, args: String = "{}") {
        self.init(
            id: 0,
            queue: "",
            runID: run,
            groupID: nil,
            lease: 0,
            priority: 0,
            kind: kind,
            name: name,
            args: args,
            attempt: 1,
            maxAttempts: 1,
            checkpoint: nil,
            stallAfter: nil
        )
    }
}

/// A job to be added, and its place in a graph.
package struct NewJob: Sendable {
    /// Unique in its run; what other jobs of the run call it.
    package var name: String
    package var kind: String
    /// A JSON object.
    package var args: String
    /// Names of the jobs that must succeed first.
    package var after: [String]
    /// Names of the jobs that must have ended first, well or not.
    package var afterEndOf: [String]
    /// The job also waits for a group that another job of the run fans out later.
    package var joinsGroup: Bool
    /// Nil for what `larder.kinds` says of the kind.
    package var timeout: Duration?
    package var maxAttempts: Int?

    package init(
        name: String,
        kind: String,
        args: String = "{}",
        after: [String] = [],
        afterEndOf: [String] = [],
        joinsGroup: Bool = false,
        timeout: Duration? = nil,
        maxAttempts: Int? = nil
    ) {
        self.name = name
        self.kind = kind
        self.args = args
        self.after = after
        self.afterEndOf = afterEndOf
        self.joinsGroup = joinsGroup
        self.timeout = timeout
        self.maxAttempts = maxAttempts
    }
}

/// What a job's work came to.
package struct JobResult: Sendable {
    /// A JSON object, kept with the archived job; later jobs of the run read it.
    package var result: String
    package var fanOut: FanOut?
    /// The job has not ended: it runs again so much later, as if for the first time but for its
    /// checkpoint.
    package var again: Duration?

    package init(_ result: String = "{}", fanOut: FanOut? = nil) {
        self.result = result
        self.fanOut = fanOut
    }

    package static func again(in pause: Duration) -> JobResult {
        var result = JobResult()
        result.again = pause
        return result
    }
}

/// Jobs added in the transaction that accepts their parent's result: all of them or none.
package struct FanOut: Sendable {
    package var jobs: [NewJob]
    /// The job of the same run that starts when the policy is met; it is cancelled when the policy
    /// cannot be met any more.
    package var join: String
    package var policy: JoinPolicy

    package init(_ jobs: [NewJob], join: String, policy: JoinPolicy = .all()) {
        self.jobs = jobs
        self.join = join
        self.policy = policy
    }

    /// Why it cannot be added, whatever the state of the run.
    func problem(of job: Job) -> String? {
        if job.runID == nil { return "it fans out, but belongs to no run" }
        if jobs.isEmpty { return "it fans out into no jobs, which nothing could join" }
        if jobs.contains(where: { !$0.after.isEmpty || !$0.afterEndOf.isEmpty || $0.joinsGroup }) {
            return "it fans out into jobs that wait for others"
        }
        return nil
    }
}

/// When the join of a fan-out starts.
package enum JoinPolicy: Sendable {
    /// When all have ended, and at most so many without success.
    case all(maxFailed: Int = 0)
    /// As soon as so many have succeeded; the rest is cancelled.
    case atLeast(Int)
    /// As soon as one has succeeded; the rest is cancelled.
    case firstGood
    /// When all have ended or the time is over, with those that have succeeded by then, at least
    /// one; the rest is cancelled.
    case bestOf(within: Duration)
}

/// A failure that no further attempt can cure: bad input, an unknown kind.
package struct FatalJobError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// Something the job needs is full or away: it is tried again later without spending an attempt.
package struct ResourceJobError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
