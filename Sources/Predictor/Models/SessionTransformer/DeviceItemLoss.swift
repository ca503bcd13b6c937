// SPDX-License-Identifier: Apache-2.0
import CUDA
private import Tables

/// `ItemLoss` on a device.
final class DeviceItemLoss {
    private let items: DeviceEmbedding
    private let embedding: Embedding
    private let skippedCode: Int32
    private let rows: DeviceRows
    private let loss: DeviceContrastiveLoss
    /// Of the whole table, or of the candidates and then of the rows that were read.
    private let gradient: DeviceMatrix
    private let vectors: DeviceMatrix
    private let candidateGradient: DeviceMatrix
    /// How many there are; nil: all of the table.
    private var candidates: Int?

    init(
        _ embedding: Embedding,
        skippedCode: Int32,
        _ layers: DeviceLayers
    ) throws(CUDAError) {
        self.embedding = embedding
        self.skippedCode = skippedCode
        items = try DeviceEmbedding(embedding, layers)
        rows = layers.rows
        loss = try DeviceContrastiveLoss(temperature: 1, layers)
        gradient = try layers.matrix(columns: embedding.width)
        vectors = try layers.matrix(columns: embedding.width)
        candidateGradient = try layers.matrix(columns: embedding.width)
    }

    var parameters: [DeviceParameter] { [items.table] }

    /// Adds to the batch what `own` aims at, and the items that are read.
    func stage(_ own: any ItemLoss, reading codes: [Int32]) {
        let chosen = own.candidates
        candidates = chosen?.count
        embedding.use((chosen ?? []) + codes)
        items.stage(except: chosen == nil ? skippedCode : -1)
        loss.stage(own.targets)
    }

    /// Writes the embeddings of the items that are read into the last columns of an input.
    func read(into input: DeviceMatrix) throws(CUDAError) {
        try items.forward(into: input, column: column(of: input), from: candidates ?? 0)
    }

    /// With the gradient of the vectors.
    func run(_ queries: DeviceMatrix, gradient dq: DeviceMatrix) throws(CUDAError) {
        guard let candidates else {
            let table = items.table.values
            return try loss.run(queries, table, dq: dq, dc: gradient, rowsOfC: table.rows)
        }
        try vectors.resize(rows: candidates)
        try items.forward(into: vectors, column: 0)
        try loss.run(queries, vectors, dq: dq, dc: candidateGradient, rowsOfC: candidates)
    }

    /// With the part of the items that were read: the last columns of each row of an input.
    func gradient(_ input: DeviceMatrix) throws(CUDAError) -> DeviceParameter.Gradient? {
        guard let candidates else {
            try items.add(input, column: column(of: input), to: gradient)
            return DeviceParameter.Gradient(parameter: items.table, pieces: gradient)
        }
        try gradient.resize(rows: candidates + input.rows)
        try rows.copy(candidateGradient, into: gradient)
        try rows.copy(input, column: column(of: input), into: gradient, row: candidates)
        return try items.backward(gradient, column: 0)
    }

    private func column(of input: DeviceMatrix) -> Int { input.columns - embedding.width }

    /// The mean of the last `run`; waits for it.
    func value() throws(CUDAError) -> Double { try loss.loss() }
}
