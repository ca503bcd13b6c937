// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Tables

/// What is known of users or of items as a row of numbers: embeddings of the id and of categories,
/// then numbers as they are, side by side.
@safe final class EntityInput: HasParameters, Sendable {
    /// How wide the embedding of so many codes is, and what its values begin with.
    struct Style: Sendable {
        var width: @Sendable (_ codes: Int) -> Int
        var begin: @Sendable (inout SeededGenerator) -> Float
    }

    enum Source {
        /// The entity's own index; one more row for those that training did not meet.
        case id(Embedding)
        case codes(Embedding, Column<Int32>)
        case lists(Embedding, Column<Int32>, offsets: Column<Int64>)
        case numbers(Column<Float>)
    }

    struct Field: @unchecked Sendable {
        /// Of ids: empty.
        let name: String
        let source: Source
        let column: Int

        var embedding: Embedding? {
            switch source {
            case .id(let embedding), .codes(let embedding, _), .lists(let embedding, _, _):
                embedding
            case .numbers: nil
            }
        }
    }

    let fields: [Field]
    private let entity: Feature.Entity
    /// Whether training meets each of them.
    let isMet: [Bool]
    let width: Int

    /// Whether more is known of it than an id that training did not meet.
    func knows(_ entity: Int32) -> Bool { isMet[Int(entity)] || fields.count > 1 }

    /// `parts`: what is trained on.
    init(
        _ dataset: Dataset,
        of entity: Feature.Entity,
        on parts: Set<Part>,
        _ style: Style,
        for kind: OptimiserKind,
        _ generator: inout SeededGenerator
    ) throws(PredictorError) {
        isMet =
            entity == .users
            ? dataset.hasEvents(in: parts) : dataset.itemCounts(in: parts).map { $0 > 0 }
        var fields: [Field] = []
        var width = 0
        func embedding(_ codes: Int, _ generator: inout SeededGenerator) -> Embedding {
            Embedding(codes: codes, width: style.width(codes), for: kind) {
                style.begin(&generator)
            }
        }
        func add(_ name: String, _ source: Source, _ columns: Int) {
            fields.append(Field(name: name, source: source, column: width))
            width += columns
        }
        let id = embedding(isMet.count + 1, &generator)
        add("", .id(id), id.width)
        for column in dataset.schema.columns(of: entity) where column.type != .id {
            switch try dataset.values(of: column) {
            case .codes(let codes):
                let table = embedding(column.cardinality ?? 0, &generator)
                add(column.name, .codes(table, codes), table.width)
            case .lists(let codes, let offsets):
                let table = embedding(column.cardinality ?? 0, &generator)
                add(column.name, .lists(table, codes, offsets: offsets), table.width)
            case .numbers(let numbers): add(column.name, .numbers(numbers), 1)
            }
        }
        self.fields = fields
        self.width = width
        self.entity = entity
    }

    var parameters: [(name: String, parameter: Parameter)] {
        fields.compactMap { field in
            field.embedding.map { embedding in
                let name = field.name.isEmpty ? "" : ".\(field.name)"
                return (entity.rawValue + name, embedding.table)
            }
        }
    }

    /// Takes the entities of a batch.
    func use(_ entities: [Int32]) {
        for field in fields {
            switch field.source {
            case .id(let embedding):
                let unknown = Int32(isMet.count)
                embedding.use(entities.lazy.map { self.isMet[Int($0)] ? $0 : unknown })
            case .codes(let embedding, let codes):
                embedding.use(entities.lazy.map { codes[Int($0)] })
            case .lists(let embedding, let codes, let offsets):
                var values: [Int32] = []
                var ends: [Int32] = [0]
                for entity in entities {
                    let range = Int(offsets[Int(entity)])..<Int(offsets[Int(entity) + 1])
                    values += codes[range]
                    ends.append(Int32(values.count))
                }
                embedding.use(values, offsets: ends)
            case .numbers: break
            }
        }
    }

    /// Takes these, and writes their rows.
    func forward(_ entities: [Int32], into x: RowBuffer, threads: Int) {
        use(entities)
        x.resize(rows: entities.count)
        for field in fields {
            field.embedding?.forward(into: x, column: field.column, threads: threads)
            guard case .numbers(let numbers) = field.source else { continue }
            for (row, entity) in entities.enumerated() {
                unsafe x.row(row)[field.column] = numbers[Int(entity)]
            }
        }
    }

    func squares(_ gradient: RowBuffer) -> Double {
        fields.reduce(0) {
            $0 + ($1.embedding?.squares(gradient, column: $1.column) ?? 0)
        }
    }

    /// Moves the embeddings of the last forward pass by the gradient of its rows.
    func update(_ gradient: RowBuffer, _ optimiser: Optimiser, threads: Int) {
        for field in fields {
            field.embedding?.update(gradient, column: field.column, optimiser, threads: threads)
        }
    }

    /// Gives those that training did not meet the mean of those that it met.
    func fillUnknown() {
        guard let table = fields.first?.embedding?.table else { return }
        table.fill(row: isMet.count, withMeanOf: isMet.indices.filter { isMet[$0] })
    }
}

extension EntityInput.Style {
    /// Normal, with deviations of 0.05.
    static func normal(width: @escaping @Sendable (_ codes: Int) -> Int) -> Self {
        Self(
            width: width,
            begin: { 0.05 * $0.normalFloat() }
        )
    }
}
