// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Jobs
import Postgres

/// What `/metrics` says, in Prometheus' text format.
struct Metrics {
    private let queue: Queue
    private let releases: Releases
    private let redis: RedisClient
    private let meter: ServerMeter

    init(_ services: Services, _ redis: RedisClient, _ meter: ServerMeter) {
        // Prometheus waits for ten seconds, and what a Postgres that hangs does not tell is no reason to
        // lose the rest.
        var impatient = services.database
        impatient.connectTimeout = .seconds(2)
        impatient.statementTimeout = .seconds(1)
        let client = Client(impatient)
        (queue, releases) = (Queue(client), Releases(client))
        (self.redis, self.meter) = (redis, meter)
    }

    func text() async -> String {
        var page = MetricsPage()
        addRequests(to: &page)
        let isThere = await answers { try await redis.ping() }
        page.add("larder_redis_up", .gauge, "Redis answers.", isThere ? 1 : 0)
        // Lookups do not need Postgres, and what is known of them is told without it.
        var isUp = false
        do {
            let queues = try await queue.states()
            let work = try await queue.lastHour()
            let feeds = try await releases.live()
            isUp = true
            addQueues(queues, to: &page)
            addWork(work, to: &page)
            addFeeds(feeds, to: &page)
        } catch {}
        page.add("larder_postgres_up", .gauge, "Postgres answers.", isUp ? 1 : 0)
        return page.text
    }

    private func answers(_ body: () async throws -> Void) async -> Bool {
        do {
            try await body()
            return true
        } catch {
            return false
        }
    }

    private func addRequests(to page: inout MetricsPage) {
        let counts = meter.counts
        page.add(
            "larder_lookups_total",
            .counter,
            "Lists handed out, by whose they were.",
            counts.lookups.map { key, count in
                (["feed": key.feed, "source": key.source], Double(count))
            }
        )
        page.add(
            "larder_http_requests_total",
            .counter,
            "Requests answered.",
            counts.requests.map { key, count in
                (["route": key.route, "status": String(key.status)], Double(count))
            }
        )
        page.add(
            "larder_http_requests_in_flight",
            .gauge,
            "Requests being answered.",
            Double(counts.inFlight)
        )
        page.add(
            "larder_http_request_seconds",
            "From the request's head to the answer's.",
            counts.times.map { (["route": $0], $1) }
        )
    }

    private func addQueues(_ queues: [Queue.State], to page: inout MetricsPage) {
        page.add(
            "larder_jobs",
            .gauge,
            "Jobs that have not ended.",
            queues.flatMap { queue in
                [
                    ("ready", queue.ready), ("running", queue.running),
                    ("scheduled", queue.scheduled), ("waiting", queue.waiting),
                ].map { (["queue": queue.queue, "state": $0], Double($1)) }
            }
        )
        page.add(
            "larder_oldest_ready_seconds",
            .gauge,
            "How long the oldest job has been ready and not taken.",
            queues.map { (["queue": $0.queue], $0.oldestReadySeconds) }
        )
        page.add(
            "larder_queue_paused",
            .gauge,
            "1 where nobody takes jobs.",
            queues.map { (["queue": $0.queue], $0.isPaused ? 1 : 0) }
        )
    }

    private func addWork(_ work: [Queue.Work], to page: inout MetricsPage) {
        page.add(
            "larder_jobs_last_hour",
            .gauge,
            "Jobs that ended within the last hour.",
            work.map {
                (["queue": $0.queue, "kind": $0.kind, "state": $0.state], Double($0.count))
            }
        )
        page.add(
            "larder_job_seconds_last_hour",
            .gauge,
            "How long they took, together.",
            work.map { (["queue": $0.queue, "kind": $0.kind, "state": $0.state], $0.seconds) }
        )
    }

    private func addFeeds(_ feeds: [Releases.Live], to page: inout MetricsPage) {
        func add(_ name: String, _ help: String, _ value: (Releases.Live) -> Double) {
            page.add(name, .gauge, help, feeds.map { (["feed": $0.feed], value($0)) })
        }
        add("larder_release", "The number of the live release.") { Double($0.number) }
        add("larder_release_age_seconds", "How long it has been live.") { $0.seconds }
        add("larder_release_lists", "Lists in it.") { Double($0.lists) }
        add("larder_hidden_items", "Items that are hidden.") { Double($0.hidden) }
    }
}

/// A page of Prometheus' text format, version 0.0.4.
struct MetricsPage {
    enum Kind: String {
        case counter
        case gauge
        case histogram
    }

    typealias Sample = (labels: [String: String], value: Double)

    private(set) var text = ""

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ value: Double) {
        add(name, kind, help, [([:], value)])
    }

    mutating func add(_ name: String, _ kind: Kind, _ help: String, _ samples: [Sample]) {
        head(name, kind, help)
        for line in samples.map({ Self.line(name, $0.labels, $0.value) }).sorted() { text += line }
    }

    mutating func add(
        _ name: String,
        _ help: String,
        _ histograms: [(labels: [String: String], ServerMeter.Histogram)]
    ) {
        head(name, .histogram, help)
        for (labels, histogram) in histograms.sorted(by: { "\($0.labels)" < "\($1.labels)" }) {
            var sum = 0
            for (place, count) in histogram.counts.enumerated() {
                sum += count
                var labels = labels
                labels["le"] =
                    place < ServerMeter.bounds.count ? "\(ServerMeter.bounds[place])" : "+Inf"
                text += Self.line(name + "_bucket", labels, Double(sum))
            }
            text += Self.line(name + "_sum", labels, histogram.seconds)
            text += Self.line(name + "_count", labels, Double(sum))
        }
    }

    private mutating func head(_ name: String, _ kind: Kind, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(kind.rawValue)\n"
    }

    private static func line(_ name: String, _ labels: [String: String], _ value: Double) -> String
    {
        let pairs = labels.sorted { $0.key < $1.key }.map { key, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
                .replacing("\n", with: "\\n")
            return "\(key)=\"\(escaped)\""
        }
        let number = value == value.rounded() && abs(value) < 1e15 ? "\(Int(value))" : "\(value)"
        return name + (pairs.isEmpty ? "" : "{\(pairs.joined(separator: ","))}") + " \(number)\n"
    }
}
