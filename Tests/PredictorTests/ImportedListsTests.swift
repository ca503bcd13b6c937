// SPDX-License-Identifier: Apache-2.0
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Lists that come as a table.
struct ImportedListsTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func dataset(_ rows: [(String, String, Float)]) throws -> Dataset {
        let path = try folder.write(
            "user,item,score\n" + rows.map { "\($0.0),\($0.1),\($0.2)\n" }.joined(),
            to: "lists.csv"
        )
        return try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: nil),
            features: [
                Feature("score", of: .events, .number(column: "score", .init(fill: .value(0))))
            ],
            split: .users(validation: 0, test: 0, seed: 1)
        ).built().dataset
    }

    /// Of some users in some order, with items that come twice and scores that are equal.
    private var rows: [(String, String, Float)] {
        var generator = SeededGenerator(seed: 3)
        return (0..<3000).map { _ in
            (
                "u\(Int.random(in: 0..<40, using: &generator))",
                "i\(Int.random(in: 0..<90, using: &generator))",
                Float(Int.random(in: -20..<20, using: &generator)) / 4
            )
        }
    }

    @Test(arguments: [true, false])
    func `lists are the rows of each, best first, and an item once`(_ hasScore: Bool) throws {
        let dataset = try dataset(rows)
        let model = try ImportedLists.read(dataset, score: hasScore ? "score" : nil)
        let hidden = Array(Int32(0)..<Int32(90)).filter { $0 % 7 == 0 }
        for list in [[Int32](), hidden] {
            let found = try model.searcher().lists(
                (0..<dataset.users.count).map { Query(user: Int32($0), history: []) },
                hidden: [[Int32]](repeating: list, count: dataset.users.count),
                k: 12
            ) { _ in }
            let without = Set(list.map { dataset.items[Int($0)] })
            for (user, answer) in found.enumerated() {
                var own = rows.filter { $0.0 == dataset.users[user] && !without.contains($0.1) }
                if hasScore {
                    own = own.enumerated()
                        .sorted { ($1.element.2, $0.offset) < ($0.element.2, $1.offset) }
                        .map(\.element)
                }
                var met = Set<String>()
                own = Array(own.filter { met.insert($0.1).inserted }.prefix(12))
                let answer = try #require(answer)
                #expect(answer.items.map { dataset.items[Int($0)] } == own.map(\.1))
                #expect(answer.scores == own.map { hasScore ? $0.2 : 0 })
                #expect(!answer.isCold)
            }
        }
    }

    @Test func `who has no list gets what stands in most lists`() throws {
        // Everybody has every item, and only the first three of each are served.
        let everything = (0..<30).flatMap { user in
            (0..<20).map { place in
                ("u\(user)", "i\((user % 4 == 3 ? user : 0) + place)", Float(20 - place))
            }
        }
        let dataset = try dataset(everything)
        let model = try ImportedLists.read(dataset, score: "score").popular(k: 3)
        let best = try #require(
            try model.searcher().lists([Query(history: [])], hidden: [[]], k: 4) { _ in }[0]
        )
        #expect(Set(best.items.prefix(3).map { dataset.items[Int($0)] }) == ["i0", "i1", "i2"])
        #expect(best.scores[0] == 23 && best.scores[3] < 3)
    }

    @Test func `a file is what was written, or refused`() throws {
        let dataset = try dataset(rows)
        let model = try ImportedLists.read(dataset, score: "score")
        try model.write(to: folder.path)
        let again = try RecommenderFile.read(kind: "lists", from: folder.path, dataset)
        func lists(_ model: any Recommender) throws -> [RankedList?] {
            let queries = [
                Query(user: 3, history: []), Query(user: 900, history: []), Query(history: [1]),
            ]
            return try model.searcher().lists(queries, hidden: [[], [], []], k: 5) { _ in }
        }
        let answers = try lists(again)
        #expect(try answers == lists(model) && answers[0] != nil)
        // Who is no user, or one of a later dataset, has none.
        #expect(answers[1] == nil && answers[2] == nil)
        #expect(again.items == model.items && again.rows == model.rows)

        let file = try TensorFile(folder.path + "/model.safetensors")
        #expect(throws: PredictorError.self) { try ImportedListModel(from: file, itemCount: 10) }
        for (offsets, listed, scores) in [
            ([0, 2], [0, 1], [Float(1)]), ([0, 3], [0, 1], []), ([1, 2], [0, 1], []),
            ([0, 2, 1, 2], [0, 1], []), ([0, 2], [0, -1], []),
        ] as [([Int64], [Int32], [Float])] {
            try SafeTensors.write(
                [
                    "offsets": .int64(offsets, shape: [offsets.count]),
                    "listed": .int32(listed, shape: [listed.count]),
                    "scores": .float32(scores, shape: [scores.count]),
                ],
                to: folder.path + "/model.safetensors"
            )
            #expect(throws: PredictorError.self) {
                try RecommenderFile.read(kind: "lists", from: folder.path, dataset)
            }
        }
        #expect(throws: PredictorError.self) { try ImportedLists.read(dataset, score: "price") }
    }
}
