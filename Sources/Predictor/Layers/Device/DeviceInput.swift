// SPDX-License-Identifier: Apache-2.0
import CUDA

/// `EntityInput` on a device.
final class DeviceInput {
    private enum Source {
        case embedding(DeviceEmbedding)
        /// Of all entities.
        case numbers(DeviceArray<Float>)
    }

    private let input: EntityInput
    private let batch: DeviceBatch
    private let fields: [(source: Source, column: Int)]
    private let rows: DeviceRows
    private var entities: DeviceBatch.Part<Int32>?

    init(_ input: EntityInput, _ layers: DeviceLayers) throws {
        self.input = input
        batch = layers.batch
        rows = layers.rows
        fields = try input.fields.map { field in
            let source: Source =
                if case .numbers(let numbers) = field.source {
                    .numbers(try DeviceArray(Array(numbers), on: layers.device))
                } else if let embedding = field.embedding {
                    .embedding(try DeviceEmbedding(embedding, layers))
                } else {
                    preconditionFailure("a field has numbers or an embedding")
                }
            return (source, field.column)
        }
    }

    var parameters: [DeviceParameter] {
        fields.compactMap {
            if case .embedding(let embedding) = $0.source { embedding.table } else { nil }
        }
    }

    /// Adds what `forward` needs to the batch.
    func stage(_ entities: [Int32]) {
        input.use(entities)
        self.entities = batch.add(entities)
        for case (.embedding(let embedding), _) in fields { embedding.stage() }
    }

    func forward(into x: DeviceMatrix) throws(CUDAError) {
        guard let entities else { return }
        try x.resize(rows: entities.count)
        for (source, column) in fields {
            switch source {
            case .embedding(let embedding): try embedding.forward(into: x, column: column)
            case .numbers(let numbers):
                // An embedding of one column, which nothing moves.
                try rows.embed(entities, of: numbers, width: 1, into: x, column: column)
            }
        }
    }

    func backward(_ gradient: DeviceMatrix) throws(CUDAError) -> [DeviceParameter.Gradient] {
        var gradients: [DeviceParameter.Gradient] = []
        for (source, column) in fields {
            guard case .embedding(let embedding) = source,
                let own = try embedding.backward(gradient, column: column)
            else { continue }
            gradients.append(own)
        }
        return gradients
    }
}
