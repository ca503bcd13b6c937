// SPDX-License-Identifier: Apache-2.0
private import Tables

/// How well a model ranks the whole catalogue for the events of the validation part: NDCG@10.
///
/// Never the metric of a batch, which says little: there, most of what could be confused is missing.
struct Validation {
    /// Users that are asked for at most; more would only cost time.
    private static let most = 10_000
    private static let k = 10

    private let queries: [Query]
    private let truths: [Set<Int32>]
    private let fallback: RetrievalModel
    private let rules: ListRules
    private let gpu: GPU?

    /// `gpu`: where to search what is worth the way.
    init(
        _ dataset: Dataset,
        for audience: Audience = .users,
        seed: Int,
        on gpu: GPU? = nil
    ) {
        self.gpu = gpu
        let all = TestQueries(dataset, for: audience, part: .validation)
        var generator = SeededGenerator(seed: seed, stream: -2)
        let chosen = Array(all.queries.indices.shuffled(using: &generator).prefix(Self.most))
            .sorted()
        queries = chosen.map { all.queries[$0] }
        truths = chosen.map { all.truths[$0] }
        // As lists are made unless a pipeline says otherwise.
        rules = ListRules(k: Self.k, excludesSeen: audience == .users)
        fallback = Popularity.train(dataset, on: .forTraining)
    }

    var isEmpty: Bool { queries.isEmpty }
    var users: [Int32] { queries.compactMap(\.user) }

    /// Nil where the model knows nobody of them: the popularity list is the same at each look.
    func value(of model: any Recommender, _ progress: (Double) throws -> Void) throws -> Double? {
        let ranker = try Ranker(model, fallback: fallback, rules, on: gpu)
        let lists = try ranker.lists(for: queries, progress: progress)
        guard !lists.allSatisfy(\.isCold) else { return nil }
        let sum = zip(lists, truths).reduce(0) { sum, pair in
            sum + ListScore(pair.0.items, truth: pair.1, k: Self.k).ndcg
        }
        return sum / Double(queries.count)
    }
}
