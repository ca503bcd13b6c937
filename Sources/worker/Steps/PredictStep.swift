// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables

/// Makes lists and writes them to Redis under the run's release.
///
/// Without arguments it reserves the release and fans out into shards; with a shard it makes the
/// lists of that range of users or items.
struct PredictStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    private struct Arguments: Codable {
        struct Shard: Codable {
            let release: Int
            let first: Int
            let end: Int
        }
        var shard: Shard?
    }

    /// Lists that `publish` reads back, over all shards.
    private static let samples = 1000

    func run() async throws -> JobResult {
        guard let shard = try input.arguments(Arguments.self).shard else {
            return try await split()
        }
        return try await makeLists(shard)
    }

    // MARK: split

    private func split() async throws -> JobResult {
        let (datasetID, dataset) = try input.dataset()
        let predict = input.pipeline.predict
        // A Postgres that was restored from a backup has not heard of what is in Redis.
        let cache = input.services.cache(input.pipeline.feed)
        let known = try await cache.highest()
        try await input.services.releases.raiseTokens(above: known.token)
        try await checkPlace(cache)
        let release = try await input.services.releases.reserve(
            feed: input.pipeline.feed,
            run: input.run,
            listsFor: input.pipeline.owners.rawValue,
            format: input.pipeline.publish.formatWords,
            k: predict.rules.k,
            dataset: datasetID,
            model: input.results.get("refit", TrainResult.self).model,
            known: known.release
        )
        try await cache.noteDrawn(release)
        let rules = try await input.services.servingRules.snapshot(feed: input.pipeline.feed)
        let count = dataset.ids(of: input.pipeline.owners).count
        let starts = Array(stride(from: 0, to: count, by: predict.shard))
        let jobs = try starts.enumerated().map { place, first in
            let shard = Arguments.Shard(
                release: release,
                first: first,
                end: min(first + predict.shard, count)
            )
            return NewJob(
                name: "predict \(place + 1)/\(starts.count)",
                kind: "predict",
                args: try JSON.text(Arguments(shard: shard)),
                timeout: .seconds(3600)
            )
        }
        return try JobResult(
            PredictResult(
                release: release,
                shards: jobs.count,
                hidden: rules.hidden.map(\.item)
            ),
            fanOut: FanOut(jobs, join: RunPlan.publishName)
        )
    }

    private func compare(
        _ new: [UInt8],
        _ old: [UInt8],
        _ format: ListFormat,
        _ churn: inout ChurnTally
    ) {
        if new == old { return churn.addSame() }
        func ids(_ list: [UInt8]) -> [String] { format.decode(list)?.map(\.id) ?? [] }
        churn.add(ids(new), after: ids(old), k: input.pipeline.predict.rules.k)
    }

    /// Readers have lists in place as soon as they are written: what would hold a release back is looked at before.
    private func checkPlace(_ cache: FeedCache) async throws {
        let publish = input.pipeline.publish
        guard publish.inPlace == true else { return }
        let maker = try maker(hidden: [])
        let asking = (0..<maker.ids.count).filter(maker.isAsking)
        let sample = stride(from: 0, to: asking.count, by: max(1, asking.count / Self.samples))
        let lists = try maker.lists(sample.map { asking[$0] }, stop: input.context.checkStop)
        guard lists.contains(where: { !$0.items.isEmpty }) else { throw Self.allEmpty }
        let kind = "\(publish.format) for \(input.pipeline.predict.listsFor)"
        guard
            let other = try await cache.claimPlace(
                for: kind,
                expire: .seconds(publish.expireSeconds)
            )
        else { return }
        throw FatalJobError(
            """
            the lists in place of "\(input.pipeline.feed)" are \(other.kind), and \(kind) would be mixed with them
            hint: give the feed another name, or wait until they have expired, in \(Output.seconds(other.stays / .seconds(1)))
            """
        )
    }

    static let allEmpty = FatalJobError(
        """
        every list came out empty, so nothing is published
        hint: with `predict: exclude: seen`, everybody may have seen everything
        """
    )

    private func maker(hidden: [String]) throws -> ListMaker {
        let (dataset, model) = try input.model(from: "refit")
        return try ListMaker(
            input.pipeline,
            dataset,
            model,
            input.rankStage(from: RunPlan.Stage.ranking.refitName),
            hidden: hidden,
            on: input.services.gpu,
            stop: input.context.checkStop
        )
    }

    // MARK: one shard

    private func makeLists(_ shard: Arguments.Shard) async throws -> JobResult {
        let cache = input.services.cache(input.pipeline.feed)
        let maker = try maker(
            hidden: input.results.get("predict", PredictResult.self).hidden ?? []
        )
        let ids = maker.ids
        let publish = input.pipeline.publish
        let expire = Duration.seconds(publish.expireSeconds)
        let total = shard.end - shard.first
        let everyNth = max(1, ids.count / Self.samples)
        var written = 0
        var entries = 0
        var short = 0
        var asked = 0
        var cold = 0
        var samples: [ShardResult.Sample] = []
        var first = shard.first
        var churn = ChurnTally()
        let (rate, layout) = (publish.rate, publish.layout(ids.count))
        let most = ListBatch.size(rate: rate)
        let bytes = try await cache.write(rate: rate) {
            guard first < shard.end else { return nil }
            let range = first..<min(first + most, shard.end)
            defer { first = range.upperBound }
            try input.progress(
                Double(first - shard.first) / Double(total),
                "\(written) of \(total) lists made"
            )
            var batch = cache.batch(release: shard.release, layout, expire: expire)
            var lists: [(id: ArraySlice<UInt8>, list: [UInt8])] = []
            let wanted = range.filter(maker.isAsking)
            asked += wanted.count
            for (index, list) in zip(
                wanted,
                try maker.lists(wanted, stop: input.context.checkStop)
            ) {
                if list.isCold { cold += 1 }
                // An unknown item gets what the default list says anyway. A user who is unknown to
                // the model still gets a list, because what was seen must not be in it.
                if list.isCold && input.pipeline.predict.owners == .items { continue }
                entries += list.items.count
                if list.items.count < maker.longest { short += 1 }
                let id = ids.ids.bytes[ids.ids.range(index)]
                if layout == .inPlace {
                    lists.append((id, maker.encode(list)))
                } else {
                    batch.append(id, list.items, scores: list.scores, as: maker.encoder)
                }
                if index % everyNth == 0 {
                    let fingerprint = Fingerprint(maker.encode(list))
                    samples.append(ShardResult.Sample(index: index, fingerprint: fingerprint))
                }
            }
            if layout == .inPlace {
                batch = try await cache.changes(lists, release: shard.release, expire: expire) {
                    compare($0, $1, maker.encoder.format, &churn)
                }
            }
            written += batch.count
            return batch
        }
        return try JobResult(
            ShardResult(
                lists: written,
                entries: entries,
                bytes: bytes,
                short: short,
                asked: asked,
                cold: cold,
                samples: samples,
                churn: layout == .inPlace ? churn : nil
            )
        )
    }
}
