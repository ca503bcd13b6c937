// SPDX-License-Identifier: Apache-2.0

/// What a model has to be better than to be worth its trouble.
package enum Baseline: String, Sendable, Codable, CaseIterable {
    /// The items with most events.
    case popularity
    /// Those with most events in the newest tenth of the training events.
    case recentPopularity = "recent-popularity"
    /// What those who had the same things had.
    case itemKNN = "item-knn"
    /// The same, from the newest item only.
    case lastItem = "last-item"

    /// What a run measures unless its pipeline says otherwise.
    package static func usual(for audience: Audience, hasTime: Bool) -> [Baseline] {
        let all: [Baseline] =
            switch audience {
            case .users: [.popularity, .recentPopularity, .itemKNN]
            case .items: [.popularity, .recentPopularity, .itemKNN]
            case .sessions: [.popularity, .recentPopularity, .itemKNN, .lastItem]
            }
        return hasTime ? all : all.filter { $0 != .recentPopularity }
    }

    /// As the model's, but for what its queries are made of.
    package func rules(_ rules: ListRules) -> ListRules {
        var own = rules
        own.history = self == .lastItem ? 1 : .max
        return own
    }

    /// Learned from the given parts.
    package func train(
        _ dataset: Dataset,
        on parts: Set<Part>,
        progress: (Double) throws -> Void
    ) throws -> any Recommender {
        switch self {
        case .popularity: Popularity.train(dataset, on: parts)
        case .recentPopularity: Self.recentPopularity(dataset, parts)
        case .itemKNN, .lastItem:
            try ItemKNN.train(dataset, on: parts, ItemKNNSettings(), progress: progress)
        }
    }

    private static func recentPopularity(_ dataset: Dataset, _ parts: Set<Part>) -> RetrievalModel {
        let events = dataset.events(in: parts)
        let times = events.map { dataset.eventTimes[Int($0)] }.sorted()
        let since = times.isEmpty ? 0 : times[times.count - 1 - times.count / 10]
        // What was not met of late follows, in the order of all times.
        let all = dataset.itemWeights(in: parts)
        let most = 1 + (all.max() ?? 0)
        var weights = all.map { $0 / most }
        for event in events where dataset.eventTimes[Int(event)] >= since {
            weights[Int(dataset.eventItems[Int(event)])] +=
                dataset.eventWeights.map { Double($0[Int(event)]) } ?? 1
        }
        return Popularity.model(weights)
    }
}
