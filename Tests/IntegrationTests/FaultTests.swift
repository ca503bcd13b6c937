// SPDX-License-Identifier: Apache-2.0
import Glibc
import Postgres
import Synchronization
import TestSupport
import Testing

@testable import Jobs

/// Servers and networks that fail under a worker, in this process.
@Suite(.timeLimit(Effort.limit)) struct FaultTests {
    /// Runs a worker until all jobs have ended, while `harm` does its worst.
    private func survive(
        _ runner: JobRunner,
        _ queue: Queue,
        jobs: Int,
        harm: @Sendable () async throws -> Void
    ) async throws {
        async let running: Void = runner.run()
        // A worker that cannot even begin says so and ends.
        try await waitUntil("the worker has begun") {
            try await queue.hasWorkers()
        }
        try await harm()
        try await waitUntil("\(jobs) jobs have succeeded") {
            let done = try? await queue.number(
                "SELECT count(*) AS n FROM larder.archive WHERE state = 'succeeded'"
            )
            return done == jobs
        }
        await runner.drain()
        try await running
        // Each once, and nothing left.
        #expect(
            try await queue.number("SELECT count(DISTINCT id) AS n FROM larder.archive") == jobs
        )
        #expect(try await queue.number("SELECT count(*) AS n FROM larder.jobs") == 0)
    }

    private static let briefly: @Sendable (Job, JobContext) async throws -> JobResult = { _, _ in
        try await Task.sleep(for: .milliseconds(5))
        return JobResult()
    }

    @Test func `a server that stops, starts and crashes loses nothing`() async throws {
        try await OwnPostgres.with { own in
            let queue = Queue(Client(own.settings))
            for _ in 0..<400 { _ = try await queue.enqueue("x", maxAttempts: 20) }
            try await survive(testRunner(own.settings, Self.briefly), queue, jobs: 400) {
                for mode in ["fast", "immediate"] {
                    try await Task.sleep(for: .milliseconds(300))
                    try await own.stop(mode)
                    try await Task.sleep(for: .milliseconds(500))
                    try await own.start()
                }
            }
        }
    }

    @Test func `a server that is full, and then read-only, is waited for`() async throws {
        try await OwnPostgres.with("-c max_connections=12 -c superuser_reserved_connections=0") {
            own in
            let queue = Queue(Client(own.settings))
            for _ in 0..<200 { _ = try await queue.enqueue("x", maxAttempts: 20) }
            try await survive(testRunner(own.settings, Self.briefly), queue, jobs: 200) {
                // Everybody else's connections, and ours killed so that they cannot come back.
                var others: [Client] = []
                try await queue.client.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                )
                for _ in 0..<12 {
                    let other = Client(own.settings)
                    _ = try? await other.execute("SELECT 1")
                    others.append(other)
                }
                try await Task.sleep(for: .milliseconds(700))
                others = []
                try await waitUntil("the settings can be changed") {
                    (try? await queue.client.execute(
                        "ALTER SYSTEM SET default_transaction_read_only = on"
                    )) != nil
                }
                try await queue.client.execute("SELECT pg_reload_conf()")
                try await Task.sleep(for: .milliseconds(700))
                try await queue.client.execute("SET default_transaction_read_only = off")
                try await queue.client.execute("ALTER SYSTEM RESET default_transaction_read_only")
                try await queue.client.execute("SELECT pg_reload_conf()")
            }
        }
    }

    @Test func `deadlocks, serialisation failures and timeouts are tried again`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            for _ in 0..<150 { _ = try await queue.enqueue("x", maxAttempts: 50) }
            try await queue.client.execute(
                """
                CREATE FUNCTION public.hurt() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF random() < 0.02 THEN
                        RAISE EXCEPTION 'injected' USING ERRCODE =
                            (ARRAY['40001', '40P01', '57014'])[1 + floor(random() * 3)::int];
                    END IF;
                    RETURN coalesce(NEW, OLD);
                END $$
                """
            )
            let hurt: @Sendable (String) async throws -> Void = { table in
                try await queue.client.execute(
                    """
                    CREATE TRIGGER hurt BEFORE INSERT OR UPDATE OR DELETE ON larder.\(table)
                    FOR EACH ROW EXECUTE FUNCTION public.hurt()
                    """
                )
            }
            for table in ["jobs", "archive", "chores"] { try await hurt(table) }
            try await survive(testRunner(settings, Self.briefly), queue, jobs: 150) {
                // Not before there is a session: a worker that gets none ends.
                try await hurt("sessions")
            }
        }
    }

    @Test func `a claim whose reply is lost comes back within a heartbeat`() async throws {
        try await OwnPostgres.with { own in
            let proxy = try PostgresProxy(to: own.socket)
            defer { proxy.close() }
            let queue = Queue(Client(own.settings))
            let worker = testRunner(
                ConnectionSettings("host=\(proxy.host) user=larder dbname=postgres"),
                change: { $0.ttl = .seconds(45) },
                Self.briefly
            )
            proxy.fault = .loseClaimReply
            _ = try await queue.enqueue("precious")
            try await survive(worker, queue, jobs: 1) {
                try await waitUntil("a reply was lost") { proxy.lostReplies == 1 }
            }
            // Refunded: it was never begun.
            #expect(try await queue.number("SELECT attempt AS n FROM larder.archive") == 1)
        }
    }

    @Test func `a network that swallows everything costs the session, not the jobs`() async throws {
        try await OwnPostgres.with { own in
            let proxy = try PostgresProxy(to: own.socket)
            defer { proxy.close() }
            let queue = Queue(Client(own.settings))
            for _ in 0..<100 { _ = try await queue.enqueue("x", maxAttempts: 20) }
            var through = ConnectionSettings("host=\(proxy.host) user=larder dbname=postgres")
            through.statementTimeout = .seconds(1)
            through.connectTimeout = .seconds(2)
            let worker = testRunner(through, change: { $0.ttl = .seconds(3) }, Self.briefly)
            try await survive(worker, queue, jobs: 100) {
                try await Task.sleep(for: .milliseconds(150))
                proxy.fault = .blackHole
                try await Task.sleep(for: .seconds(5))
                proxy.fault = nil
            }
        }
    }

    @Test func `a dead listening connection leaves polling at work, and polling alone is enough`()
        async throws
    {
        try await OwnPostgres.with { own in
            let proxy = try PostgresProxy(to: own.socket)
            defer { proxy.close() }
            let queue = Queue(Client(own.settings))
            let through = ConnectionSettings("host=\(proxy.host) user=larder dbname=postgres")
            for listens in [true, false] {
                try await queue.client.execute("TRUNCATE larder.archive")
                try await survive(
                    testRunner(through, change: { $0.listens = listens }, Self.briefly),
                    queue,
                    jobs: 5
                ) {
                    try await Task.sleep(for: .milliseconds(300))
                    proxy.fault = listens ? .blackHoleListeners : nil
                    for _ in 0..<5 {
                        _ = try await queue.enqueue("x")
                        try await Task.sleep(for: .milliseconds(50))
                    }
                }
                proxy.fault = nil
            }
        }
    }

    @Test func `notifications alone are enough`() async throws {
        try await TestServers.withDatabase { settings in
            let queue = Queue(Client(settings))
            // A poll would come in an hour.
            let worker = testRunner(
                settings,
                change: { $0.pollInterval = .seconds(3600) },
                Self.briefly
            )
            try await survive(worker, queue, jobs: 2) {
                try await Task.sleep(for: .milliseconds(700))
                for _ in 0..<2 {
                    _ = try await queue.enqueue("x")
                    try await Task.sleep(for: .milliseconds(1100))
                }
            }
        }
    }
}
