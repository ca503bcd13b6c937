// SPDX-License-Identifier: Apache-2.0
package import Predictor
import Tables

/// Events whose right answer is known: users and items of even number belong together, and so do
/// the odd ones.
///
/// A model that has learned anything recommends only items of the user's own colour.
package enum Checkerboard {
    package static func csv(users: Int = 40, items: Int = 20, skippingItemOfUser: Bool = true)
        -> String
    {
        var lines = ["user,item,time"]
        for user in 0..<users {
            // Each user leaves one item of the colour out: the one to be recommended.
            let own = stride(from: user % 2, to: items, by: 2)
            let left = skippingItemOfUser ? (user / 2 * 2 + user % 2) % items : -1
            for (place, item) in own.filter({ $0 != left }).enumerated() {
                lines.append("u\(user),i\((item + place * 6) % items),\(1000 + place)")
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    package static func settings(
        _ path: String,
        split: Split = .leaveLastOne(validation: false)
    ) -> DatasetSettings {
        DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: "time"),
            split: split
        )
    }
}

extension DatasetSettings {
    /// Builds the dataset in a folder of its own, and opens it.
    package func built(
        threads: Int = 2,
        buffer: Int = DatasetBuilder.buffer
    ) throws -> (dataset: Dataset, summary: DatasetBuilder.Summary) {
        let folder = try TemporaryFolder()
        let summary = try DatasetBuilder.build(
            self,
            into: folder.path,
            limits: .init(threads: threads, buffer: buffer)
        )
        return (try Dataset(from: folder.path), summary)
    }
}
