// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Tables

/// What certain lists must hold, or must not: a table with the columns `id`, `item` and `rule`.
struct Cases {
    enum Rule: String, CaseIterable {
        case mustRecommend = "must-recommend"
        case mustNotRecommend = "must-not-recommend"
    }

    struct Case {
        let id: String
        let item: String
        let rule: Rule
    }

    let cases: [Case]

    init(_ source: TableSource) throws {
        let rows = Rows()
        let vocabularies = try TableContext().table(source).read(
            ["id", "item", "rule"].enumerated().map { ColumnRequest($1, .id(vocabulary: $0)) },
            into: rows
        )
        if let bad = rows.bad { throw FatalJobError("\(source.name): \(bad)") }
        cases = try rows.rows.map { row in
            let name = vocabularies[2][Int(row[2])]
            guard let rule = Rule(rawValue: name) else {
                let rules = Rule.allCases.map(\.rawValue)
                let near = EditDistance.nearest(to: name, in: rules)
                throw FatalJobError(
                    "\(source.name): the rule \"\(name)\" is not one of \(rules.joined(separator: ", "))"
                        + (near.map { "; did you mean \($0)?" } ?? "")
                )
            }
            return Case(
                id: vocabularies[0][Int(row[0])],
                item: vocabularies[1][Int(row[1])],
                rule: rule
            )
        }
    }

    private final class Rows: BatchSink, @unchecked Sendable {
        var rows: [[Int32]] = []
        var bad: String?

        func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) {
            for row in 0..<batch.count {
                rows.append((0..<3).map { batch.columns[$0].codes[row] })
            }
            if bad == nil, let first = batch.examples.first {
                bad = "line \(first.line): \(first.reason)"
            }
        }
    }

    /// Looks at the lists as readers would get them; an id without one gets the default list.
    func outcomes(_ cache: FeedCache, release: Int) async throws -> [GateOutcome] {
        let ids = Array(Set(cases.map(\.id))).sorted()
        let found = try await cache.lists(ids.map { Array($0.utf8) }, release: release)
        let lists = Dictionary(uniqueKeysWithValues: zip(ids, found.lists))
        return cases.map { one in
            let own = lists[one.id] ?? nil
            let list = (own ?? found.defaultList).map(\.id)
            let place = list.firstIndex(of: one.item)
            let whose = own == nil ? "the default list, which \(one.id) gets," : "its list"
            return GateOutcome(
                gate: "\(one.id) \(one.rule.rawValue) \(one.item)",
                holds: (place != nil) == (one.rule == .mustRecommend),
                finding: place.map { "\(whose) has it at \($0 + 1)" } ?? "\(whose) does not have it"
            )
        }
    }
}
