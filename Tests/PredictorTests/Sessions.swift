// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport

@testable import Predictor

/// Sessions and models that tests of session transformers have in common.
enum Sessions {
    /// 30 sessions over 24 items with a group and a price: a category and a number.
    static func dataset(split: Split = .leaveLastOne(validation: false)) throws -> Dataset {
        let folder = try TemporaryFolder()
        var (events, items) = ("session,item,time\n", "item,group,price\n")
        for session in 0..<30 {
            for place in 0..<3 + session % 5 {
                events += "s\(session),i\((session * 5 + place * 7) % 24),\(place)\n"
            }
        }
        for item in 0..<24 {
            let price = String(format: "%.1f", Double(item % 5) * 0.2 - 0.4)
            items += "i\(item),g\(item % 4),\(price)\n"
        }
        return try DatasetSettings(
            source: TableSource(.csv, try folder.write(events, to: "events.csv")),
            columns: .init(user: "session", item: "item", time: "time"),
            items: EntityTable(
                table: .init(.csv, try folder.write(items, to: "items.csv")),
                id: "item"
            ),
            features: [
                Feature("group", of: .items, .category(.init(column: "group"))),
                Feature("price", of: .items, .number(column: "price", .init(scale: .none))),
            ],
            split: split
        ).built().dataset
    }

    static func small(_ masking: SessionTransformerSettings.Masking) -> SessionTransformerSettings {
        var settings = SessionTransformerSettings()
        settings.masking = masking
        settings.width = 16
        settings.inner = 24
        settings.length = 8
        settings.training.batch = 7
        settings.training.epochs = 4
        settings.optimiser.learningRate = 0.01
        return settings
    }

    static func lists(_ model: SessionModel, _ histories: [[Int32]]) throws -> [RankedList?] {
        try model.searcher().lists(
            histories.map { Query(history: $0) },
            hidden: histories.map { _ in [] },
            k: 5
        ) { _ in }
    }
}
