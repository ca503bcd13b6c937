// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// A shop that does not exist: people with tastes, a catalogue with a few favourites and a long
/// tail, and sessions in which what comes next depends on what was seen before.
///
/// - A user belongs to one of 16 groups, and likes categories as the product of two latent vectors
///   says (8 dimensions, drawn around the group's); and likes prices of a certain level.
/// - Within a category items are popular as Zipf's law says (exponent 1).
/// - After an item come, in three of ten steps, one of its three companions in another category,
///   always the same; in four, another item of its category; else whatever the user likes.
/// - Events are views; one in seven goes into the cart, of these one in three is bought.
package struct Shop {
    package struct Size: Sendable, Codable, Equatable {
        package var events: Int
        package var users: Int
        package var items: Int
        package var days: Int

        package init(events: Int, users: Int, items: Int, days: Int) {
            self.events = events
            self.users = users
            self.items = items
            self.days = days
        }
    }

    private struct Manifest: Encodable {
        let generator = "shop"
        let size: Size
        let seed: Int
        let companionShare = Shop.companionShare
        let sameCategoryShare = Shop.sameCategoryShare
    }

    private static let companionShare = 0.3
    private static let sameCategoryShare = 0.4
    private static let groups = 16
    private static let dimensions = 8
    private static let countries = ["IT", "DE", "FR", "ES", "PL", "NL", "SE", "PT"]
    private static let devices = ["phone", "desktop", "tablet"]

    private let size: Size
    private let seed: Int
    private let categoryCount: Int
    /// Items of each category, the most popular first.
    private let itemsOf: [[Int32]]
    private let categoryVectors: [Float]
    private let groupVectors: [Float]

    private init(_ size: Size, _ seed: Int) {
        self.size = size
        self.seed = seed
        let categories = min(max(4, size.items / 40), 200)
        categoryCount = categories
        var generator = SeededGenerator(seed: seed, stream: 1)
        var itemsOf = [[Int32]](repeating: [], count: categories)
        for item in 0..<size.items {
            // Each category has one item at least.
            let category = item < categories ? item : generator.index(below: categories)
            itemsOf[category].append(Int32(item))
        }
        self.itemsOf = itemsOf
        categoryVectors = (0..<categories * Self.dimensions).map { _ in Float(generator.normal()) }
        groupVectors = (0..<Self.groups * Self.dimensions).map { _ in Float(generator.normal()) }
    }

    /// Writes events.csv, users.csv, items.csv, pipeline.yaml and manifest.json into an existing
    /// folder; the same size and seed give the same bytes.
    package static func write(to folder: String, _ size: Size, seed: Int) throws(PredictorError) {
        let shop = Shop(size, seed)
        let items = shop.items()
        try shop.writeItems(items, to: "\(folder)/items.csv")
        try shop.writeUsers(to: "\(folder)/users.csv")
        try shop.writeEvents(items, to: "\(folder)/events.csv")
        try SyntheticFiles.write(
            Manifest(size: size, seed: seed),
            pipeline: pipeline,
            to: folder
        )
    }

    // MARK: items

    private struct Item {
        var category: Int32
        /// In cents.
        var price: Int32
        /// From 0, cheap, to 1, dear.
        var level: Float
        var brand: Int32
    }

    private func items() -> [Item] {
        var items = [Item](
            repeating: Item(category: 0, price: 0, level: 0, brand: 0),
            count: size.items
        )
        for (category, own) in itemsOf.enumerated() {
            for item in own {
                var generator = SeededGenerator(seed: seed &+ 2, stream: Int(item))
                let level = generator.unitFloat()
                items[Int(item)] = Item(
                    category: Int32(category),
                    price: Int32(exp(5.5 + 4 * level + 0.3 * Float(generator.normal()))),
                    level: level,
                    brand: Int32(generator.index(below: 1 + size.items / 25))
                )
            }
        }
        return items
    }

    private func writeItems(_ items: [Item], to path: String) throws(PredictorError) {
        var file = try TextFile(path)
        try file.write("item_id,title,category,brand,price,tags\n")
        for (number, item) in items.enumerated() {
            var generator = SeededGenerator(seed: seed &+ 3, stream: number)
            let tags = (0...generator.index(below: 3)).map { _ in
                "t\((Int(item.category) * 7 + generator.index(below: 5)) % 60)"
            }
            try file.write(
                """
                \(number + 1),Item \(number + 1),c\(item.category),b\(item.brand),\
                \(item.price / 100).\(item.price % 100 < 10 ? "0" : "")\(item.price % 100),\
                \(tags.joined(separator: "|"))

                """
            )
        }
        try file.finish()
    }

    /// One of an item's three companions, in a category that goes with its own.
    private func companion(of item: Int32, in category: Int32, _ which: Int) -> Int32 {
        let own = itemsOf[(Int(category) * 3 + which + 1) % categoryCount]
        var generator = SeededGenerator(seed: seed &+ 4 &+ which, stream: Int(item))
        return own[zipf(own.count, &generator)]
    }

    // MARK: users

    private struct Taste {
        /// Sums over categories of what is liked, up to 1.
        var categories: [Float]
        var level: Float
    }

    private func group(ofUser user: Int) -> (Int, SeededGenerator) {
        var generator = SeededGenerator(seed: seed &+ 5, stream: user)
        let group = generator.index(below: Self.groups)
        return (group, generator)
    }

    private func writeUsers(to path: String) throws(PredictorError) {
        var file = try TextFile(path)
        try file.write("user_id,country,age\n")
        for user in 0..<size.users {
            var (group, generator) = group(ofUser: user)
            // Half of the people live where their group does.
            let country = generator.index(below: 2) == 0 ? group : generator.index(below: 8)
            try file.write(user + 1, ",")
            try file.write("\(Self.countries[country % 8]),")
            // Ages are not known of all.
            if generator.index(below: 10) > 0 {
                try file.write("\(18 + group * 3 + generator.index(below: 15))")
            }
            try file.write("\n")
        }
        try file.finish()
    }

    private func taste(ofUser user: Int) -> Taste {
        var (group, generator) = group(ofUser: user)
        let vector = (0..<Self.dimensions).map { place in
            groupVectors[group * Self.dimensions + place] + 0.5 * Float(generator.normal())
        }
        var sums: [Float] = []
        sums.reserveCapacity(categoryCount)
        var total: Float = 0
        for category in 0..<categoryCount {
            var product: Float = 0
            for place in 0..<Self.dimensions {
                product += vector[place] * categoryVectors[category * Self.dimensions + place]
            }
            total += expf(min(product, 20))
            sums.append(total)
        }
        for category in sums.indices { sums[category] /= total }
        return Taste(categories: sums, level: generator.unitFloat())
    }

    // MARK: events

    private func writeEvents(_ items: [Item], to path: String) throws(PredictorError) {
        var file = try TextFile(path)
        try file.write("user_id,session_id,item_id,event,timestamp,price,device\n")
        var generator = SeededGenerator(seed: seed, stream: 6)
        let start = 1_767_225_600  // 2026-01-01
        var session = 0
        var row = 0
        while row < size.events {
            // Some come often: the square of a uniform number.
            let u = generator.unit()
            let user = min(size.users - 1, Int(u * u * Double(size.users)))
            let taste = taste(ofUser: user)
            let device = Self.devices[min(generator.index(below: 4), 2)]
            var time = start + Int(Double(row) / Double(size.events) * Double(size.days) * 86_400)
            session += 1
            var last: Int32?
            let length = 1 + Int(-log(generator.unit()) * 5)
            for _ in 0..<length where row < size.events {
                let item = next(after: last, items, taste, &generator)
                var event = "view"
                repeat {
                    let price = Int(items[Int(item)].price)
                    try file.write(user + 1, ",")
                    try file.write(session, ",")
                    try file.write(Int(item) + 1, ",")
                    try file.write(event)
                    try file.write(",")
                    try file.write(time, ",")
                    try file.write(price / 100, ".")
                    if price % 100 < 10 { try file.write("0") }
                    try file.write(price % 100, ",")
                    try file.write(device)
                    try file.write("\n")
                    row += 1
                    time += 5 + generator.index(below: 90)
                    switch (event, generator.index(below: 21)) {
                    case ("view", 0..<3): event = "cart"
                    case ("cart", 0..<7): event = "buy"
                    default: event = ""
                    }
                } while !event.isEmpty && row < size.events
                last = item
            }
        }
        try file.finish()
    }

    private func next(
        after last: Int32?,
        _ items: [Item],
        _ taste: Taste,
        _ generator: inout SeededGenerator
    ) -> Int32 {
        if let last {
            let category = items[Int(last)].category
            let choice = generator.unit()
            if choice < Self.companionShare {
                return companion(of: last, in: category, min(generator.index(below: 5), 2))
            }
            if choice < Self.companionShare + Self.sameCategoryShare {
                let own = itemsOf[Int(category)]
                return own[zipf(own.count, &generator)]
            }
        }
        let share = generator.unitFloat()
        var (low, high) = (0, categoryCount - 1)
        while low < high {
            let middle = (low + high) / 2
            if taste.categories[middle] < share { low = middle + 1 } else { high = middle }
        }
        // Of a few candidates the first whose price is to the user's taste.
        let own = itemsOf[low]
        var item = own[zipf(own.count, &generator)]
        for _ in 0..<4 where abs(items[Int(item)].level - taste.level) > 0.25 {
            item = own[zipf(own.count, &generator)]
        }
        return item
    }

    /// A rank below `count`, with a probability of about 1 / (rank + 1): the inverse of the
    /// continuous distribution.
    private func zipf(_ count: Int, _ generator: inout SeededGenerator) -> Int {
        min(count - 1, Int(exp(generator.unit() * log(Double(count) + 1))) - 1)
    }

    private static let pipeline = """
        feed: shop
        dataset:
          source: { csv: events.csv }
          columns: { user: user_id, item: item_id, time: timestamp, session: session_id }
          users: { csv: users.csv, user: user_id }
          items: { csv: items.csv, item: item_id, title: title }
          features:
            users:
              country: { category: country }
              age: { number: age, fill: median, scale: standard }
              spend: { statistic: mean, of: price, log: true, scale: standard }
            items:
              category: { category: category }
              brand: { category: brand, min-count: 5, hash: 16 }
              tags: { category: tags, list: "|" }
              price: { number: price, log: true, scale: standard }
            events:
              event: { category: event }
              device: { category: device }
              hour: { time: hour, zone: Europe/Rome }
          split: { by: time, validation: 7d, test: 7d }
        model: { kind: popularity }
        predict: { for: users, k: 20 }

        """
}
