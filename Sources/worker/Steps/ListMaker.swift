// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Predictor
import Tables

extension Pipeline.Predict {
    /// What lists are made from: the dataset, or users and items in each other's place.
    func listed(_ dataset: Dataset) -> Dataset {
        isOfUsers ? dataset.transposed() : dataset
    }

    /// What makes lists from that; `parts`: what may be known of the users of `dataset`.
    func listed(
        _ model: any Recommender,
        of dataset: Dataset,
        on parts: Set<Part>,
        progress: (Double) throws -> Void
    ) throws -> any Recommender {
        guard isOfUsers else { return model }
        return try model.inverse(
            of: dataset,
            on: parts,
            history: rules.history,
            progress: progress
        )
    }
}

extension Dataset {
    /// Of the items that it has.
    func indices(of items: [String]) -> [Int32] {
        items.compactMap { self.items.index(of: $0).map { Int32($0) } }
    }
}

/// Makes the lists that a pipeline serves, and the bytes of each.
struct ListMaker {
    let dataset: Dataset
    /// Those that lists are found by.
    let ids: Vocabulary
    /// A list with fewer items is short; nobody can have more than there is.
    let longest: Int
    /// What an owner is asked about: imported lists are their owners' whatever these are.
    private let audience: Audience
    /// Whether the model may know owners that nothing has happened to.
    private let asksAll: Bool
    private let ranker: Ranker
    let encoder: ListEncoder
    private let since: Int64?

    init(
        _ pipeline: Pipeline,
        _ dataset: Dataset,
        _ model: any Recommender,
        _ rank: RankStage?,
        hidden: [String],
        on gpu: GPU? = nil,
        stop: () throws -> Void = {}
    ) throws {
        let predict = pipeline.predict
        audience = pipeline.model.isImported ? .users : predict.audience
        asksAll = !pipeline.model.isImported && predict.owners == .items
        let model = try predict.listed(model, of: dataset, on: .all) { _ in try stop() }
        let dataset = predict.listed(dataset)
        self.dataset = dataset
        ids = dataset.ids(of: audience)
        longest = min(predict.rules.k, dataset.items.count)
        ranker = try Ranker(
            model,
            fallback: Popularity.train(dataset, on: .all),
            predict.served,
            rank: rank,
            withdrawn: dataset.indices(of: hidden),
            on: gpu
        )
        encoder = ListEncoder(
            ListFormat(rawValue: pipeline.publish.format) ?? .json,
            ids: (0..<dataset.items.count).lazy.map { dataset.items[$0] }
        )
        since = predict.recent.map { (dataset.eventTimes.max() ?? 0) - Int64($0) }
    }

    /// Whether someone gets a list: users of earlier datasets only, or not of late, do not.
    func isAsking(_ owner: Int) -> Bool {
        if asksAll { return true }
        guard let last = dataset.events(ofUser: owner).last else { return false }
        return since.map { dataset.eventTimes[last] > $0 } ?? true
    }

    /// What someone's list is made from.
    func query(_ owner: Int) -> Query {
        switch audience {
        case .users:
            return Query(user: Int32(owner), events: dataset.events(ofUser: owner), of: dataset)
        case .sessions:
            let last = dataset.sequences(ofUser: owner).last
            return Query(
                user: Int32(owner),
                events: last.map { dataset.events(ofSequence: $0) } ?? 0..<0,
                of: dataset
            )
        case .items: return Query(history: [Int32(owner)])
        }
    }

    func lists(_ owners: [Int], stop: () throws -> Void = {}) throws -> [RankedList] {
        try lists(owners.map(query), by: ranker, stop: stop)
    }

    func lists(_ queries: [Query], by ranker: Ranker, stop: () throws -> Void = {}) throws
        -> [RankedList]
    {
        switch audience {
        case .users, .sessions: try ranker.lists(for: queries) { _ in try stop() }
        case .items: try ranker.lists(forItems: queries.map { $0.history[0] }) { _ in try stop() }
        }
    }

    func encode(_ list: RankedList) -> [UInt8] { encoder.encode(list.items, scores: list.scores) }
}
