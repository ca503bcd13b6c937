// SPDX-License-Identifier: Apache-2.0
import CUDA

/// Has a device compute what each layer computes on a processor, and compares; within `Device.use`.
struct LayerCheck {
    private let layers: DeviceLayers

    init(_ layers: DeviceLayers) { self.layers = layers }

    func run() throws {
        for kind in OptimiserKind.allCases { try checkNetwork(kind) }
        try checkPairs()
        for isCausal in [false, true] { try checkTransformer(isCausal: isCausal) }
        try checkRows()
    }

    /// Three steps of embeddings of lists, dense layers, a length of one and a softmax.
    private func checkNetwork(_ kind: OptimiserKind) throws {
        var generator = SeededGenerator(seed: 1)
        let width = 16
        let embedding = Embedding(codes: 40, width: 20, for: kind) { generator.normalFloat() }
        let dense = DenseLayers(
            inputs: embedding.width,
            outputs: [24, width],
            rectifiesLast: false,
            dropout: 0.1,
            for: kind,
            threads: 1,
            &generator
        )
        let candidates = RowBuffer(rows: 50, columns: width)
        candidates.fill { generator.normalFloat() }
        // One code is met more often than a thread adds up, one list is empty.
        var codes: [Int32] = []
        var offsets: [Int32] = [0]
        for row in 0..<300 {
            if row != 5 { codes += [Int32(row % 40), 7] }
            offsets.append(Int32(codes.count))
        }
        var targets = ContrastiveLoss.Targets()
        targets.bias = (0..<candidates.rows).map { Float($0 % 5) * 0.1 }
        targets.target = (0..<300).map { Int32($0 % candidates.rows) }
        targets.targetBias = (0..<300).map { Float($0) * 0.01 }
        targets.copies = (0..<300).map { place in
            ContrastiveLoss.Copy(query: Int32(place), candidate: Int32((place + 1) % 50))
        }
        var settings = OptimiserSettings()
        settings.kind = kind
        settings.learningRate = kind == .sgd ? 1 : 0.05
        settings.clip = 0.1
        let begin = [embedding.table] + dense.parameters("").map(\.parameter)
        let before = begin.map(\.values.values)

        let ownEmbedding = try DeviceEmbedding(embedding, layers)
        let ownDense = try DeviceDenseLayers(dense, layers)
        let ownNormalise = try DeviceNormalise(columns: width, layers)
        let ownLoss = try DeviceContrastiveLoss(temperature: 0.5, layers)
        let ownCandidates = try DeviceMatrix(candidates, on: layers.device)
        let ownSlopes = try layers.matrix(columns: width)
        let update = try DeviceUpdate(layers)
        let normalise = Normalise()
        let loss = ContrastiveLoss(columns: width, temperature: 0.5, threads: 1)
        let (directions, slopes) = (RowBuffer(columns: width), RowBuffer(columns: width))
        embedding.use(codes, offsets: offsets)
        for step in 0..<3 {
            layers.batch.begin()
            ownEmbedding.stage()
            ownLoss.stage(targets)
            try layers.batch.send()
            try ownDense.input.resize(rows: 300)
            try ownEmbedding.forward(into: ownDense.input, column: 0)
            try ownDense.forward(step: step)
            try ownNormalise.forward(ownDense.output)
            try ownLoss.run(
                ownNormalise.output,
                ownCandidates,
                dq: ownDense.outputGradient,
                dc: ownSlopes,
                rowsOfC: candidates.rows
            )
            try ownNormalise.backward(ownDense.outputGradient)
            try ownDense.backward(step: step)
            var gradients = ownDense.gradients
            if let own = try ownEmbedding.backward(ownDense.inputGradient, column: 0) {
                gradients.append(own)
            }
            update.beginStep()
            try update.move(by: gradients, settings, step: step, of: 3)
            try update.finishStep()

            dense.input.resize(rows: 300)
            embedding.forward(into: dense.input, column: 0, threads: 1)
            dense.forward(step: step)
            normalise.forward(dense.output, into: directions, threads: 1)
            let expected = loss.run(
                directions,
                candidates,
                targets,
                dq: dense.outputGradient,
                dc: slopes,
                rowsOfC: candidates.rows
            )
            normalise.backward(dense.outputGradient, y: directions, threads: 1)
            dense.backward(step: step)
            let squares =
                dense.gradients.squares + embedding.squares(dense.inputGradient, column: 0)
            let optimiser = Optimiser(settings, step: step, of: 3, squares: squares)
            dense.gradients.update(optimiser, threads: 1)
            embedding.update(dense.inputGradient, column: 0, optimiser, threads: 1)
            try expect([Float(ownLoss.loss())], [Float(expected)])
            try expect(ownSlopes.values(), slopes.values)
        }
        // How far they moved, not where they are.
        for ((own, here), before) in zip(
            zip([ownEmbedding.table] + ownDense.parameters, begin),
            before
        ) {
            try expect(
                zip(own.values.values(), before).map { $0 - $1 },
                zip(here.values.values, before).map { $0 - $1 }
            )
        }
    }

    /// Sums of pairs of rows, of the rows of each, and the loss of labels.
    private func checkPairs() throws {
        var generator = SeededGenerator(seed: 2)
        func random(_ rows: Int, _ columns: Int) -> RowBuffer {
            let buffer = RowBuffer(rows: rows, columns: columns)
            buffer.fill { generator.normalFloat() }
            return buffer
        }
        let distinct = Distinct(count: 30)
        distinct.use((0..<400).map { (n: Int) -> Int32 in n % 2 == 0 ? 3 : Int32(n % 30) })
        let (a, b) = (random(distinct.entities.count, 12), random(4, 12))
        let slots = (0..<400).map { Int32($0 % 4) }
        let labels = (0..<400).map { Float($0 % 3 == 0 ? 1 : 0) }
        let logits = random(400, 1)
        let own = try DevicePairSum(layers)
        let ownLoss = try DeviceBinaryCrossEntropy(layers)
        let uses = try DeviceUses(columns: 12, layers)
        layers.batch.begin()
        own.stage(distinct.slots, slots)
        ownLoss.stage(labels)
        uses.stage(distinct.uses, of: 0..<Int32(distinct.entities.count))
        try layers.batch.send()
        let y = try layers.matrix(columns: 12)
        let sums = try layers.matrix(columns: 12)
        let gradient = try layers.matrix(columns: 1)
        try own.forward(
            DeviceMatrix(a, on: layers.device),
            DeviceMatrix(b, on: layers.device),
            into: y
        )
        try uses.sums(of: y, into: sums)
        try ownLoss.run(DeviceMatrix(logits, on: layers.device), gradient: gradient)

        let (expected, expectedSums) = (RowBuffer(columns: 12), RowBuffer(columns: 12))
        PairSum.forward(a, distinct.slots, b, slots, into: expected, threads: 1)
        distinct.sum(expected, into: expectedSums, threads: 1)
        let expectedGradient = RowBuffer(columns: 1)
        let loss = BinaryCrossEntropy.run(logits, labels: labels, gradient: expectedGradient)
        try expect(y.values(), expected.values)
        try expect(sums.values(), expectedSums.values)
        try expect(gradient.values(), expectedGradient.values)
        try expect([Float(ownLoss.loss())], [Float(loss)])
    }

    /// The gradient of a whole table, some rows that are all the same, and some that are nothing.
    private func checkRows() throws {
        var generator = SeededGenerator(seed: 4)
        let embedding = Embedding(codes: 7, width: 5, for: .sgd) { generator.normalFloat() }
        let (whole, gradient) = (RowBuffer(rows: 7, columns: 5), RowBuffer(rows: 9, columns: 6))
        for buffer in [whole, gradient] { buffer.fill { generator.normalFloat() } }
        let own = try DeviceEmbedding(embedding, layers)
        let ownWhole = try DeviceMatrix(whole, on: layers.device)
        layers.batch.begin()
        embedding.use([3, 1, 3, 6, 0, 0, 3, 1, 1])
        own.stage(except: 6)
        let same = layers.batch.add([Int32](arrayLiteral: 2, 5))
        let none = layers.batch.add([Int32](arrayLiteral: 4))
        try layers.batch.send()
        embedding.add(gradient, column: 1, to: whole, except: 6)
        try own.add(DeviceMatrix(gradient, on: layers.device), column: 1, to: ownWhole)
        try expect(ownWhole.values(), whole.values)
        let row = RowBuffer(rows: 1, columns: 5)
        row.fill { generator.normalFloat() }
        try layers.rows.fill(same, of: ownWhole, with: DeviceMatrix(row, on: layers.device))
        try layers.rows.fill(none, of: ownWhole, with: nil)
        var expected = whole.values
        for (place, values) in [(2, row.values), (5, row.values), (4, [0, 0, 0, 0, 0])] {
            expected.replaceSubrange(place * 5..<(place + 1) * 5, with: values)
        }
        try expect(ownWhole.values(), expected)
    }

    /// Both ways through a transformer, of sequences of different lengths; in the last layer some rows ask.
    ///
    /// `block`: floats that attention takes at a time.
    func checkTransformer(isCausal: Bool, block: Int = 1 << 26) throws {
        var generator = SeededGenerator(seed: 3)
        let settings = TransformerSettings(
            width: 12,
            heads: 3,
            layers: 2,
            inner: 20,
            dropout: 0.2,
            epsilon: 0.1,
            isCausal: isCausal
        )
        let transformer = Transformer(settings, for: .sgd, &generator)
        for (_, parameter) in transformer.parameters("") {
            parameter.values.fill { 0.5 * generator.normalFloat() }
        }
        var (sequences, selected) = (Sequences(), SelectedRows())
        // One that nothing is asked of, and one that is longer than a block has threads.
        for (length, asking) in [(5, [1, 4]), (3, []), (1, [0]), (80, [2, 70, 79]), (2, [0, 1])] {
            selected.append(asking.map { Int32($0) }, first: sequences.rows)
            sequences.append(length: length)
        }
        let own = try DeviceTransformer(transformer, layers, block: block)
        func fill(_ here: RowBuffer, _ there: DeviceMatrix, rows: Int) throws {
            here.resize(rows: rows)
            here.fill { generator.normalFloat() }
            try there.resize(rows: rows)
            try there.array.upload(here.values[...])
        }
        layers.batch.begin()
        let staged = DeviceSequences(sequences, selected, layers.batch)
        try layers.batch.send()
        // Twice: the room of the first is that of the second.
        for step in 0..<2 {
            try fill(transformer.input, own.input, rows: sequences.rows)
            transformer.forward(sequences, selected, TransformerPass(step: step))
            try own.forward(staged, step: step)
            try expect(own.output.values(), transformer.output.values)
            try fill(transformer.outputGradient, own.outputGradient, rows: selected.count)
            transformer.backward(sequences, selected, TransformerPass(step: step))
            try own.backward(staged, step: step)
            try expect(own.inputGradient.values(), transformer.inputGradient.values)
            for expected in transformer.gradients {
                let found = own.gradients.first {
                    $0.parameter.parameter === expected.parameter
                }
                try expect(found?.pieces.values() ?? [], expected.values.values)
            }
        }
    }

    /// The same, but for the last bits.
    private func expect(_ found: [Float], _ expected: [Float]) throws(CUDAError) {
        let most = expected.reduce(0) { max($0, abs($1)) }
        guard found.count == expected.count,
            zip(found, expected).allSatisfy({ abs($0 - $1) <= 1e-3 * most })
        else { throw .wrong(kernel: "layers") }
    }
}
