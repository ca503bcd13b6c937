// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc

/// What columns a dataset has, for the models that are built from them; `schema.json` in its folder.
package struct Schema: Sendable, Codable, Equatable {
    package struct Column: Sendable, Codable, Equatable {
        package enum DataType: String, Sendable, Codable {
            /// An index into the vocabulary of users or items.
            case id
            /// `Code`.
            case category
            case number
        }

        package enum Tag: String, Sendable, Codable {
            case user
            case item
            case id
            case context
            case list
            case continuous
        }

        package var name: String
        package var entity: Feature.Entity
        package var type: DataType
        package var tags: [Tag]
        /// How many codes there are, of ids and categories.
        package var cardinality: Int?
        /// A fitting width of its embedding.
        package var width: Int?
        /// The dictionary in `categories.safetensors` that says what the codes from `Code.first`
        /// mean.
        package var vocabulary: String?
        /// Codes from `Code.unknown` on that unknown values share by their hash.
        package var hashBuckets: Int?
        /// Of buckets.
        package var boundaries: [Float]?
        package var fit: NumberFit?

        package init(
            _ name: String,
            of entity: Feature.Entity,
            _ type: DataType,
            cardinality: Int? = nil,
            isList: Bool = false
        ) {
            self.name = name
            self.entity = entity
            self.type = type
            self.cardinality = cardinality
            width = cardinality.map(Schema.width)
            tags =
                switch entity {
                case .users: [.user]
                case .items: [.item]
                case .events: [.context]
                }
            if type == .id { tags.append(.id) }
            if type == .number { tags.append(.continuous) }
            if isList { tags.append(.list) }
        }

        package var isList: Bool { tags.contains(.list) }
    }

    package var columns: [Column]

    package init(_ columns: [Column]) { self.columns = columns }

    package func columns(of entity: Feature.Entity) -> [Column] {
        columns.filter { $0.entity == entity }
    }

    /// NVTabular's rule for the width of an embedding of so many codes.
    package static func width(cardinality: Int) -> Int {
        min(max(16, Int((1.6 * pow(Double(cardinality), 0.56)).rounded())), 512)
    }
}

extension Schema {
    init(from path: String) throws(PredictorError) {
        do {
            self = try JSONDecoder().decode(
                Schema.self,
                from: Data(contentsOf: URL(filePath: path))
            )
        } catch { throw .file(path, "is not a dataset's schema: \(error)") }
    }

    /// Writes a new file and syncs it.
    func write(to path: String) throws(PredictorError) {
        let json = stableJSON(self, lines: true)
        let file = try OutputFile(path)
        try file.write(json)
        try file.sync()
    }
}

/// The codes of categories; those of values follow, the most frequent in training first.
package enum Code {
    package static let padding: Int32 = 0
    package static let missing: Int32 = 1
    /// Not seen in training, or too rarely; with hash buckets the first of them.
    package static let unknown: Int32 = 2

    /// The first that stands for a value of its own.
    package static func first(hashBuckets: Int) -> Int32 { unknown + Int32(max(1, hashBuckets)) }
}

/// How numbers were made: x is (log(1 + value), or value) minus shift, divided by scale.
package struct NumberFit: Sendable, Codable, Equatable {
    package var log: Bool
    package var shift: Float
    package var scale: Float
    /// The x of missing values.
    package var fill: Float
    /// How many values training events had.
    package var count: Int

    /// The value that an x was made of.
    package func value(of x: Float) -> Float {
        let value = x * scale + shift
        return log ? expm1f(value) : value
    }

    func x(of value: Float) -> Float {
        let value = log ? (value < 0 ? .nan : log1pf(value)) : value
        return value.isNaN ? fill : (value - shift) / scale
    }
}
