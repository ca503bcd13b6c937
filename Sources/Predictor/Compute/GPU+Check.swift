// SPDX-License-Identifier: Apache-2.0
import CUDA

extension GPU {
    /// Compiles all kernels, and has them compute something that a processor computes too: what is wrong
    /// with a card, its driver or the kernels is known before anything is made with them.
    package func prepare() throws {
        try checkTopK()
        try device.use {
            let layers: DeviceLayers
            do {
                layers = try DeviceLayers(self)
            } catch let error as CUDAError where !error.isOfDevice {
                // Without cuBLAS lists are made all the same; trainings will tell.
                return
            }
            try checkLayers(layers)
        }
    }

    private func checkTopK() throws {
        var generator = SeededGenerator(seed: 1)
        func random(_ rows: Int) -> Matrix {
            let values = (0..<rows * 20).map { _ in generator.unitFloat() * 2 - 1 }
            return Matrix(rows: rows, columns: 20, values: values)
        }
        let (queries, items) = (random(130), random(1000))
        let excluded = (0..<queries.rows).map { query in
            (0..<Int32(items.rows)).filter { ($0 + Int32(query)) % 7 == 0 }
        }
        let index = try TopKIndex(items, on: self)
        func lists(_ pass: TopKIndex.Pass) throws -> TopKLists {
            try index.search(queries, k: 15, excluded: excluded, pass: pass)
        }
        guard try lists(.gpu) == lists(.float32) else { throw CUDAError.wrong(kernel: "topk") }
    }

    /// A step of a network with one of each layer, from the same weights.
    private func checkLayers(_ layers: DeviceLayers) throws {
        let kind = OptimiserKind.adamw
        var generator = SeededGenerator(seed: 1)
        let embedding = Embedding(codes: 40, width: 20, for: kind) { generator.normalFloat() }
        let dense = DenseLayers(
            inputs: embedding.width,
            outputs: [24, 16],
            rectifiesLast: false,
            dropout: 0.1,
            for: kind,
            threads: 1,
            &generator
        )
        let candidates = RowBuffer(rows: 50, columns: 16)
        candidates.fill { generator.normalFloat() }
        // One code is met more often than a thread adds up.
        let codes = (0..<300).map { (n: Int) -> Int32 in n % 3 == 0 ? Int32(n / 3 % 40) : 7 }
        var targets = ContrastiveLoss.Targets()
        targets.bias = (0..<candidates.rows).map { Float($0 % 5) * 0.1 }
        targets.target = codes.indices.map { Int32($0 % candidates.rows) }
        targets.targetBias = codes.map { Float($0) * 0.01 }
        targets.copies = codes.indices.map { place in
            ContrastiveLoss.Copy(query: Int32(place), candidate: Int32((place + 1) % 50))
        }
        var settings = OptimiserSettings()
        settings.kind = kind

        let ownEmbedding = try DeviceEmbedding(embedding, layers)
        let ownDense = try DeviceDenseLayers(dense, layers)
        let ownNormalise = try DeviceNormalise(columns: 16, layers)
        let ownLoss = try DeviceContrastiveLoss(temperature: 0.5, layers)
        let ownCandidates = try DeviceMatrix(candidates, on: device)
        let ownSlopes = try layers.matrix(columns: 16)
        embedding.use(codes)
        layers.batch.begin()
        ownEmbedding.stage()
        ownLoss.stage(targets)
        try layers.batch.send()
        try ownDense.input.resize(rows: codes.count)
        try ownEmbedding.forward(into: ownDense.input, column: 0)
        try ownDense.forward(step: 3)
        try ownNormalise.forward(ownDense.output)
        try ownLoss.run(
            ownNormalise.output,
            ownCandidates,
            dq: ownDense.outputGradient,
            dc: ownSlopes,
            rowsOfC: candidates.rows
        )
        try ownNormalise.backward(ownDense.outputGradient)
        try ownDense.backward(step: 3)
        var gradients = ownDense.gradients
        if let own = try ownEmbedding.backward(ownDense.inputGradient, column: 0) {
            gradients.append(own)
        }
        let squares = try gradients.reduce(0) { try $0 + $1.squares() }
        settings.clip = squares.squareRoot() / 2
        let optimiser = Optimiser(settings, step: 0, of: 1, squares: squares)
        try gradients.update(optimiser)
        let loss = try ownLoss.loss()
        let slopes = try ownSlopes.values()

        let normalise = Normalise()
        let (directions, expectedSlopes) = (RowBuffer(columns: 16), RowBuffer(columns: 16))
        dense.input.resize(rows: codes.count)
        embedding.forward(into: dense.input, column: 0, threads: 1)
        dense.forward(step: 3)
        normalise.forward(dense.output, into: directions, threads: 1)
        let expectedLoss = ContrastiveLoss(columns: 16, temperature: 0.5, threads: 1).run(
            directions,
            candidates,
            targets,
            dq: dense.outputGradient,
            dc: expectedSlopes,
            rowsOfC: candidates.rows
        )
        normalise.backward(dense.outputGradient, y: directions, threads: 1)
        dense.backward(step: 3)
        dense.gradients.update(optimiser, threads: 1)
        embedding.update(dense.inputGradient, column: 0, optimiser, threads: 1)

        var pairs = [(slopes, expectedSlopes.values), ([Float(loss)], [Float(expectedLoss)])]
        let moved = [ownEmbedding.table] + ownDense.parameters
        let expected = [embedding.table] + dense.parameters("").map(\.parameter)
        for (found, expected) in zip(moved, expected) {
            pairs.append((try found.values.values(), expected.values.values))
        }
        guard pairs.allSatisfy(Self.agree) else { throw CUDAError.wrong(kernel: "layers") }
    }

    /// But for the last bits.
    private static func agree(_ found: [Float], _ expected: [Float]) -> Bool {
        let most = expected.reduce(0) { max($0, abs($1)) }
        return found.count == expected.count
            && zip(found, expected).allSatisfy { abs($0 - $1) <= 1e-3 * most }
    }
}
