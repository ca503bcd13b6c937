// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables

/// Scores what earlier runs published by the events that came while it was live: the lists as they
/// stand in Redis, not as a model would make them.
struct HindsightStep {
    private static let k = 10
    /// Lists in memory at a time.
    private static let block = 10_000

    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    /// Whose list was there to be used, and what came.
    private struct Question {
        let owner: Int
        let day: Int
        var came: Set<String>
    }

    private struct Score {
        var queries = 0
        var hits = 0
        var defaultHits = 0

        static func += (a: inout Score, b: Score) {
            a.queries += b.queries
            a.hits += b.hits
            a.defaultHits += b.defaultHits
        }
    }

    func run() async throws -> JobResult {
        let dataset = try input.pipeline.predict.listed(input.dataset().1)
        let feed = input.pipeline.feed
        let spans = try await input.services.releases.spans(feed: feed)
        // A release may have been live twice in a day.
        var found: [Int: [Int: Score]] = [:]
        var notes: [String] = []
        let cache = input.services.cache(feed)
        let k = min(Self.k, input.pipeline.predict.rules.k)
        for (place, span) in spans.enumerated() {
            try input.progress(
                Double(place) / Double(spans.count),
                "looking at what release \(span.number) was worth"
            )
            let questions = questions(dataset, span)
            guard !questions.isEmpty else { continue }
            let scores: [Int: Score]?
            do {
                scores = try await self.scores(questions, dataset, cache, span.number, k)
                // Asked when all is read: what was made of these very events would know them.
                if try await cache.isOverwritten(span.number) {
                    notes.append(
                        "release \(span.number) was written in place, and another was begun since: it is not scored"
                    )
                    continue
                }
            } catch let error as CacheError {
                // What was served yesterday is no reason to hold back what is served today.
                notes.append("release \(span.number) could not be scored: \(error)")
                continue
            }
            guard let scores else {
                notes.append(
                    "release \(span.number) is not in Redis any more: it is not scored"
                )
                continue
            }
            for (day, score) in scores {
                found[span.number, default: [:]][day, default: Score()] += score
            }
        }
        let days = found.sorted { $0.key < $1.key }.flatMap { release, scores in
            scores.sorted { $0.key < $1.key }.map { report($1, release, day: $0, k) }
        }
        return try JobResult(HindsightResult(k: k, days: days, notes: notes))
    }

    private func report(
        _ score: Score,
        _ release: Int,
        day: Int,
        _ k: Int
    ) -> HindsightResult.Day {
        let result = HindsightResult.Day(
            day: Self.text(day),
            release: release,
            queries: score.queries,
            hitRate: Double(score.hits) / Double(score.queries),
            defaultHitRate: Double(score.defaultHits) / Double(score.queries)
        )
        for (name, value) in [("", result.hitRate), ("default-", result.defaultHitRate)] {
            input.context.metric(
                "hindsight/release-\(release)-\(name)hit-rate@\(k)",
                step: day * 86_400,
                value: value
            )
        }
        return result
    }

    // MARK: what came

    private func questions(_ dataset: Dataset, _ span: Releases.Span) -> [Question] {
        let since = Int64(span.since.rounded(.up))
        let until = span.until.map { Int64($0) } ?? .max
        func isIn(_ event: Int) -> Bool {
            dataset.eventTimes[event] >= since && dataset.eventTimes[event] <= until
        }
        switch input.pipeline.predict.audience.owners {
        case .items: return steps(dataset, isIn)
        default: return days(dataset, isIn)
        }
    }

    /// Of each user, what came on each day.
    private func days(_ dataset: Dataset, _ isIn: (Int) -> Bool) -> [Question] {
        (0..<dataset.users.count).flatMap { user in
            var days: [Int: Set<String>] = [:]
            for event in dataset.events(ofUser: user) where isIn(event) {
                let day = Int(dataset.eventTimes[event]) / 86_400
                days[day, default: []].insert(dataset.items[Int(dataset.eventItems[event])])
            }
            return days.sorted { $0.key < $1.key }.map { day, came in
                Question(owner: user, day: day, came: came)
            }
        }
    }

    /// What came after an item in a sequence.
    private func steps(_ dataset: Dataset, _ isIn: (Int) -> Bool) -> [Question] {
        (0..<dataset.sequenceCount).flatMap { sequence in
            let events = dataset.events(ofSequence: sequence)
            return events.dropFirst().filter(isIn).map { event in
                Question(
                    owner: Int(dataset.eventItems[event - 1]),
                    day: Int(dataset.eventTimes[event]) / 86_400,
                    came: [dataset.items[Int(dataset.eventItems[event])]]
                )
            }
        }
    }

    // MARK: what was served

    /// By day; nil where the release is gone.
    private func scores(
        _ questions: [Question],
        _ dataset: Dataset,
        _ cache: FeedCache,
        _ release: Int,
        _ k: Int
    ) async throws -> [Int: Score]? {
        let ids = dataset.ids(of: input.pipeline.predict.audience)
        let byOwner = Dictionary(grouping: questions, by: \.owner).sorted { $0.key < $1.key }
        var scores: [Int: Score] = [:]
        for first in stride(from: 0, to: byOwner.count, by: Self.block) {
            try input.context.checkStop()
            let part = byOwner[first..<min(first + Self.block, byOwner.count)]
            let found = try await cache.lists(
                part.map { Array(ids.ids.bytes[ids.ids.range($0.key)]) },
                release: release
            )
            let byDefault = found.defaultList.prefix(k).map(\.id)
            guard !byDefault.isEmpty else { return nil }
            for (asked, list) in zip(part, found.lists) {
                let served = list?.prefix(k).map(\.id) ?? byDefault
                for question in asked.value {
                    scores[question.day, default: Score()].queries += 1
                    if served.contains(where: question.came.contains) {
                        scores[question.day]?.hits += 1
                    }
                    if byDefault.contains(where: question.came.contains) {
                        scores[question.day]?.defaultHits += 1
                    }
                }
            }
        }
        return scores
    }

    private static func text(_ day: Int) -> String {
        Date(timeIntervalSince1970: Double(day) * 86_400)
            .formatted(.iso8601.year().month().day())
    }
}
