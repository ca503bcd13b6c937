// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Logging
import Postgres
import Synchronization

/// The queue's own figures.
///
/// Every rate is counted from what the archive holds afterwards.
struct QueueBench {
    enum Part: String, CaseIterable {
        /// Jobs added one by one and a thousand at a time.
        case enqueue
        /// Claim one, finish it, by 1 and 4 clients.
        case single
        /// Claim a hundred, finish them, by 1 and 4 clients.
        case batch
        /// A whole worker with a handler that does nothing.
        case worker
        /// From the commit of an enqueue to the start of the job on an idle worker.
        case latency
        /// A steady load while a transaction is held open for three minutes.
        case xmin
    }

    let database: ConnectionSettings
    let seconds: Int
    static let queueName = "bench"

    init(database: ConnectionSettings, seconds: Int) {
        self.database = database
        self.seconds = seconds
    }

    func measure(_ part: Part) async throws -> [Measurement] {
        switch part {
        case .enqueue: try await enqueue()
        case .single: try await workOff(batch: 1, jobs: 8000 * seconds, clients: [1, 4])
        case .batch: try await workOff(batch: 100, jobs: 40_000 * seconds, clients: [1, 4])
        case .worker: try await worker()
        case .latency: try await latency()
        case .xmin: try await XminBench(database: database, queueName: Self.queueName).measure()
        }
    }

    private var clock: ContinuousClock { ContinuousClock() }

    private func fill(_ count: Int) async throws {
        let queue = Queue(Client(database))
        try await clear(queue)
        let thousand = Self.jobs(1000)
        for _ in 0..<((count + 999) / 1000) { _ = try await queue.enqueueMany(thousand) }
        try await queue.client.execute("VACUUM ANALYZE larder.jobs")
        try await queue.client.execute("CHECKPOINT")
    }

    private func clear(_ queue: Queue) async throws {
        try await queue.client.execute("TRUNCATE larder.jobs, larder.archive, larder.group_deltas")
    }

    static func jobs(_ count: Int) -> String {
        "["
            + (0..<count).map { #"{"kind":"noop","queue":"\#(queueName)","args":{"user":\#($0)}}"# }
            .joined(separator: ",") + "]"
    }

    private func enqueue() async throws -> [Measurement] {
        let queue = Queue(Client(database))
        try await clear(queue)
        var added = 0
        let start = clock.now
        while clock.now - start < .seconds(seconds) {
            _ = try await queue.enqueue("noop", queue: Self.queueName)
            added += 1
        }
        let one = Double(added) / ((clock.now - start) / .seconds(1))
        let thousand = Self.jobs(1000)
        let again = clock.now
        added = 0
        while clock.now - again < .seconds(seconds) {
            added += try await queue.enqueueMany(thousand).count
        }
        return [
            Measurement(what: "enqueue one by one", value: one, unit: "jobs/s"),
            Measurement(
                what: "enqueue by 1000",
                value: Double(added) / ((clock.now - again) / .seconds(1)),
                unit: "jobs/s"
            ),
        ]
    }

    private func workOff(batch: Int, jobs: Int, clients: [Int]) async throws -> [Measurement] {
        var measurements: [Measurement] = []
        for count in clients {
            try await fill(jobs)
            let database = database
            let seconds = seconds
            let start = clock.now
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<count {
                    group.addTask {
                        let queue = Queue(Client(database))
                        let session = Session(
                            id: UUID().uuidString.lowercased(),
                            host: "bench",
                            pid: 1,
                            slots: 1
                        )
                        try await queue.open(session, ttl: .seconds(600))
                        // Like the runner: what is done goes with the claim of the next.
                        var jobs = try await queue.claim(
                            batch,
                            from: Self.queueName,
                            for: session
                        )
                        while !jobs.isEmpty {
                            let endings = jobs.map {
                                (job: $0, ending: Queue.Ending.succeeded(JobResult()))
                            }
                            if ContinuousClock.now - start > .seconds(seconds) {
                                _ = try await queue.finish(endings, by: session)
                                break
                            }
                            let request = Queue.ClaimRequest(
                                count: batch,
                                queue: Self.queueName,
                                watermark: jobs[0].place
                            )
                            jobs = try await queue.finish(
                                endings,
                                claiming: request,
                                by: session
                            ).claimed
                        }
                        try await queue.close(session)
                    }
                }
                try await group.waitForAll()
            }
            let took = (clock.now - start) / .seconds(1)
            let done = try await archived()
            measurements.append(
                Measurement(
                    what: "claim and finish by \(batch), \(count) client\(count == 1 ? "" : "s")",
                    value: Double(done) / took,
                    unit: "jobs/s",
                    note: done >= jobs ? "ran out of jobs" : ""
                )
            )
        }
        return measurements
    }

    private func archived() async throws -> Int {
        try await Client(database).query(
            "SELECT count(*) AS n FROM larder.archive WHERE state = 'succeeded'"
        ) { row throws(PostgresError) in try row.decode("n", Int.self) }[0]
    }

    private struct Handler: JobHandler {
        let body: @Sendable (Job) -> Void
        func run(_ job: Job, _ context: JobContext) async throws -> JobResult {
            body(job)
            return JobResult()
        }
    }

    private func runner(
        slots: Int,
        exits: Bool,
        listens: Bool = true,
        _ body: @escaping @Sendable (Job) -> Void
    ) -> JobRunner {
        var settings = JobRunner.Settings()
        settings.queue = Self.queueName
        settings.slots = slots
        settings.exitsWhenEmpty = exits
        settings.listens = listens
        var logger = Logger(label: "bench") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .error
        return JobRunner(settings, database: database, handler: Handler(body: body), logger: logger)
    }

    private func worker() async throws -> [Measurement] {
        let jobs = 20_000 * seconds
        try await fill(jobs)
        // The first and the last end, by our own clock: boot and the last look are not the rate.
        let span = Mutex<(first: ContinuousClock.Instant, last: ContinuousClock.Instant)?>(nil)
        try await runner(slots: ProcessInfo.processInfo.activeProcessorCount, exits: true) { _ in
            let now = ContinuousClock.now
            span.withLock { $0 = ($0?.first ?? now, now) }
        }.run()
        let done = try await archived()
        guard done == jobs, let (first, last) = span.withLock({ $0 }) else {
            throw SettingsError("\(done) of \(jobs) jobs were finished")
        }
        return [
            Measurement(
                what: "one worker, empty handler",
                value: Double(jobs) / ((last - first) / .seconds(1)),
                unit: "jobs/s"
            )
        ]
    }

    private func latency() async throws -> [Measurement] {
        var measurements: [Measurement] = []
        for listens in [true, false] {
            let queue = Queue(Client(database))
            try await clear(queue)
            let (starts, signal) = AsyncStream<ContinuousClock.Instant>.makeStream()
            let runner = runner(slots: 1, exits: false, listens: listens) { _ in signal.yield(.now)
            }
            async let running: Void = runner.run()
            var times: [Double] = []
            var iterator = starts.makeAsyncIterator()
            for _ in 0..<30 {
                // Apart, so that each finds the worker idle and the limiter open.
                try await Task.sleep(for: .milliseconds(Int.random(in: 1100...1900)))
                let sent = clock.now
                _ = try await queue.enqueue("noop", queue: Self.queueName)
                guard let started = await iterator.next() else { break }
                times.append((started - sent) / .milliseconds(1))
            }
            await runner.drain()
            try await running
            times.sort()
            let how = listens ? "notified" : "polling only"
            measurements += [
                Measurement(
                    what: "start latency at idle, \(how), p50",
                    value: times[15],
                    unit: "ms"
                ),
                Measurement(
                    what: "start latency at idle, \(how), max",
                    value: times[29],
                    unit: "ms"
                ),
            ]
        }
        return measurements
    }
}
