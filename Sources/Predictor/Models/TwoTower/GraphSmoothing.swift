// SPDX-License-Identifier: Apache-2.0
private import Tables

/// Adds to the vectors of items those of the users who had them.
///
/// v'ᵢ = vᵢ + weight · Σ qᵤ / √(dᵤ dᵢ), over the users u who had item i; d: of how many items a user had one, of how
/// many users an item was had. That is one layer of the light graph convolution of LightGCN (He et al. 2020, equation
/// 3), on the side of items and after the training.
struct GraphSmoothing {
    private let weight: Float
    /// Different items of each user, from `offsets[u]` up to `offsets[u + 1]`.
    private let offsets: [Int]
    private let items: [Int32]
    /// Of how many users each item was had.
    private let counts: [Float]

    init(_ dataset: Dataset, on parts: Set<Part>, weight: Double) {
        self.weight = Float(weight)
        var offsets = [0]
        var items: [Int32] = []
        var counts = [Float](repeating: 0, count: dataset.items.count)
        let wanted = parts.map(\.rawValue)
        for user in 0..<dataset.users.count {
            let own = dataset.events(ofUser: user).filter {
                wanted.contains(dataset.eventParts[$0])
            }
            .map { dataset.eventItems[$0] }.sorted()
            for (place, item) in own.enumerated() where place == 0 || own[place - 1] != item {
                items.append(item)
                counts[Int(item)] += 1
            }
            offsets.append(items.count)
        }
        self.offsets = offsets
        self.items = items
        self.counts = counts
    }

    /// `rows`: of each item in `vectors`, -1 for none; `known`: the user of each row of `users`.
    func add(to vectors: inout Matrix, rows: [Int32], users: Matrix, known: [Int32]) {
        let width = vectors.columns
        for (row, user) in known.enumerated() {
            let own = offsets[Int(user)]..<offsets[Int(user) + 1]
            for place in own {
                let item = Int(items[place])
                guard rows[item] >= 0 else { continue }
                let share = weight / (Float(own.count) * counts[item]).squareRoot()
                let (to, from) = (Int(rows[item]) * width, row * width)
                for column in 0..<width {
                    vectors.values[to + column] += share * users.values[from + column]
                }
            }
        }
    }
}
