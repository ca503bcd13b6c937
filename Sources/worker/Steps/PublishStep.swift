// SPDX-License-Identifier: Apache-2.0
import Artifacts
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables

/// Checks that a release is whole and moves the pointer to it.
struct PublishStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    func run() async throws -> JobResult {
        let plan = try input.results.get("predict", PredictResult.self)
        let shards = try (1...plan.shards).map { number in
            try input.results.get("predict \(number)/\(plan.shards)", ShardResult.self)
        }
        var result = PublishResult(
            release: plan.release,
            lists: shards.reduce(0) { $0 + $1.lists },
            bytes: shards.reduce(0) { $0 + $1.bytes },
            cold: shards.reduce(0) { $0 + $1.cold }
        )
        guard shards.contains(where: { $0.entries > 0 }) else {
            throw PredictStep.allEmpty
        }
        let feed = input.pipeline.feed
        let cache = input.services.cache(feed)
        let expected = try await cache.live()
        if let expected, expected > plan.release {
            throw FatalJobError(
                "release \(expected) of \"\(feed)\" is live already; \(plan.release) is older"
            )
        }
        if input.pipeline.publish.inPlace == true { try await cache.checkNewest(plan.release) }
        try input.progress(0.1, "writing the default list")
        try await writeHead(cache, result, hidden: plan.hidden ?? [])
        try await input.services.tellReaders(of: feed)
        try await cache.installFunction()
        try input.progress(0.3, "reading lists back")
        let samples = try samples(shards)
        try await verify(cache, samples, release: plan.release)
        if input.pipeline.publish.compact == true, let sample = samples.first {
            result.isInTables = try await cache.isInTable(sample.id, release: plan.release)
        }
        // What is live already was moved there by an attempt before this one, and has passed.
        let isLive = expected == plan.release
        let pairs = try await pairs(
            cache,
            samples,
            plan.release,
            after: isLive ? cache.previous() : expected
        )
        result.churn = churn(shards, pairs)
        if !isLive { result.gates = try await gates(cache, pairs, shards, plan.release) }
        // Whoever lost the job meanwhile must not touch the pointer; the token guards the rest.
        try input.progress(0.9, "moving the pointer")
        try await cache.flip(from: expected, to: plan.release, token: input.job.lease, .publish)
        try await input.services.releases.recordLive(
            feed: feed,
            number: plan.release,
            Releases.Contents(
                lists: result.lists,
                bytes: result.bytes,
                changedLists: result.churn?.changed,
                newItems: result.churn?.newItems
            )
        )
        return try JobResult(result)
    }

    private func writeHead(
        _ cache: FeedCache,
        _ result: PublishResult,
        hidden: [String]
    ) async throws {
        let (datasetID, original) = try input.dataset()
        let dataset = input.pipeline.predict.listed(original)
        let format = ListFormat(rawValue: input.pipeline.publish.format) ?? .json
        let popular = try popular(dataset)
        let withdrawn = dataset.indices(of: hidden)
        let served = input.pipeline.predict.served
        let list = try Ranker(popular, fallback: popular, served, withdrawn: withdrawn)
            .defaultList()
        let encoder = ListEncoder(
            format,
            ids: (0..<dataset.items.count).lazy.map { dataset.items[$0] }
        )
        let expire = Duration.seconds(input.pipeline.publish.expireSeconds)
        let layout = input.pipeline.publish.layout(
            original.ids(of: input.pipeline.owners).count
        )
        try await cache.write(
            fallbacks(dataset, filledWith: list, withdrawn: withdrawn, encoder),
            release: result.release,
            layout,
            expire: expire
        )
        try await cache.writeHead(
            encoder.encode(list.items, scores: list.scores),
            FeedCache.Meta(
                format: format,
                k: input.pipeline.predict.rules.k,
                spare: input.pipeline.predict.spare ?? 0,
                layout: layout,
                listsFor: input.pipeline.predict.listsFor,
                count: result.lists,
                dataset: datasetID,
                model: input.results.get("refit", TrainResult.self).model,
                created: Date.now.ISO8601Format()
            ),
            release: result.release,
            expire: expire
        )
    }

    /// What the default list is made by.
    private func popular(_ dataset: Dataset) throws -> RetrievalModel {
        guard input.pipeline.model.isImported,
            let model = try input.model(from: "refit").1 as? ImportedListModel
        else { return Popularity.train(dataset, on: .all) }
        return model.popular(k: input.pipeline.predict.rules.k)
    }

    /// Lists for segments and categories, where the pipeline asks for them.
    private func fallbacks(
        _ dataset: Dataset,
        filledWith rest: RankedList,
        withdrawn: [Int32],
        _ encoder: ListEncoder
    ) throws -> [FeedCache.Fallback] {
        let wanted = input.pipeline.publish.fallback
        let lists = PopularLists(
            dataset,
            k: input.pipeline.predict.served.k,
            withdrawn: withdrawn
        )
        let segments = try wanted?.segment.map { try lists.segments(by: $0, filledWith: rest) }
        let categories = try wanted?.category.map { try lists.categories(by: $0) }
        return [(Lookup.Source.segment, segments), (.category, categories)].flatMap {
            source,
            entries in
            (entries ?? []).map { entry in
                FeedCache.Fallback(
                    source,
                    entry.value,
                    encoder.encode(entry.list.items, scores: entry.list.scores)
                )
            }
        }
    }

    private func samples(_ shards: [ShardResult]) throws -> [FeedCache.Sample] {
        let folder = try input.services.artifacts.get(
            kind: "dataset",
            input.results.get("prepare", PrepareResult.self).dataset
        ).folder
        let ids =
            switch input.pipeline.owners {
            case .items: try Dataset.readItems(from: folder)
            default: try Dataset.readUsers(from: folder)
            }
        return shards.flatMap(\.samples).map { sample in
            FeedCache.Sample(
                id: Array(ids.ids.bytes[ids.ids.range(sample.index)]),
                fingerprint: sample.fingerprint
            )
        }
    }

    private func verify(
        _ cache: FeedCache,
        _ samples: [FeedCache.Sample],
        release: Int
    ) async throws {
        try await cache.verify(
            samples,
            release: release,
            format: ListFormat(rawValue: input.pipeline.publish.format) ?? .json,
            k: input.pipeline.predict.served.k
        )
    }

    private func pairs(
        _ cache: FeedCache,
        _ samples: [FeedCache.Sample],
        _ release: Int,
        after earlier: Int?
    ) async throws -> ListPairs? {
        // What was written in place has taken the place of the lists before.
        guard let earlier, input.pipeline.publish.inPlace != true else { return nil }
        return try await ListPairs(samples.map(\.id), cache, release, after: earlier)
    }

    private func churn(_ shards: [ShardResult], _ pairs: ListPairs?) -> Churn? {
        if let pairs { return pairs.count > 0 ? pairs.churn(input.pipeline.predict.rules.k) : nil }
        var tally = ChurnTally()
        for shard in shards { if let churn = shard.churn { tally += churn } }
        return tally.lists > 0 ? tally.churn(since: nil) : nil
    }

    private func gates(
        _ cache: FeedCache,
        _ pairs: ListPairs?,
        _ shards: [ShardResult],
        _ release: Int
    ) async throws -> GateResult? {
        let check = input.pipeline.check
        var outcomes = ListGates(
            pairs: pairs,
            shards: shards,
            k: input.pipeline.predict.rules.k
        ).outcomes(check.gates)
        if let source = check.cases {
            outcomes += try await Cases(source).outcomes(cache, release: release)
        }
        return outcomes.isEmpty ? nil : try await input.pass(outcomes)
    }
}
