// SPDX-License-Identifier: Apache-2.0

/// One claimed job: what a worker receives, and the lease that proves it may answer for it.
package struct Job: Sendable {
    package let id: Int
    package let queue: String
    package let runID: Int?
    /// The fencing token: one number per claim, never reused.
    package let lease: Int
    package let kind: String
    package let name: String
    /// A JSON object.
    package let args: String
    /// 1 for the first attempt.
    package let attempt: Int
    package let maxAttempts: Int
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
    /// The job also waits for a group that another job of the run fans out later.
    package var joinsGroup: Bool
    package var timeout: Duration
    package var maxAttempts: Int

    package init(
        name: String,
        kind: String,
        args: String = "{}",
        after: [String] = [],
        joinsGroup: Bool = false,
        timeout: Duration = .seconds(600),
        maxAttempts: Int = 5
    ) {
        self.name = name
        self.kind = kind
        self.args = args
        self.after = after
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

    package init(_ result: String = "{}", fanOut: FanOut? = nil) {
        self.result = result
        self.fanOut = fanOut
    }
}

/// Jobs added in the transaction that accepts their parent's result: all of them or none.
package struct FanOut: Sendable {
    package var jobs: [NewJob]
    /// The job of the same run that starts when every one of them has succeeded.
    package var join: String

    package init(_ jobs: [NewJob], join: String) {
        self.jobs = jobs
        self.join = join
    }
}

/// A failure that no further attempt can cure: bad input, an unknown kind.
package struct FatalJobError: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}
