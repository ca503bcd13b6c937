// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `RelativeAttention` on a device, in training.
///
/// What queries ask of distances, and the way back of it, are matrix products; of the rest a block does a query and a
/// head, and on the way back a key and a head.
final class DeviceAttention {
    /// What all layers of a transformer work in, one after the other.
    final class Room {
        fileprivate let byDistance: DeviceMatrix
        fileprivate let kept: DeviceMatrix
        /// Floats of each of both.
        ///
        /// Never what happens to be free: in how many parts gradients are added up is in their last bits.
        fileprivate let block: Int
        private var waves: (matrix: DeviceMatrix, reach: Int)?
        private let device: Device

        init(_ layers: DeviceLayers, block: Int) throws(CUDAError) {
            self.block = block
            device = layers.device
            byDistance = try layers.matrix(columns: 1)
            kept = try layers.matrix(columns: 1)
        }

        /// Sines of at least this reach, and of what reach they are.
        fileprivate func waves(
            reach: Int,
            width: Int
        ) throws(CUDAError) -> (matrix: DeviceMatrix, reach: Int) {
            if let waves, waves.reach >= reach { return waves }
            let new = try DeviceMatrix(
                RelativeAttention.waves(reach: reach, width: width),
                on: device
            )
            waves = (new, reach)
            return (new, reach)
        }
    }

    private let attention: RelativeAttention
    private let layers: DeviceLayers
    private let room: Room
    private let query: DeviceLinear
    private let keyAndValue: DeviceLinear
    private let position: DeviceLinear
    private let output: DeviceLinear
    private let contentBias: DeviceParameter
    private let positionBias: DeviceParameter
    private let contentGradient: DeviceMatrix
    private let positionGradient: DeviceMatrix
    private let addBias: Kernel
    private let attend: Kernel
    private let attendBack: Kernel
    private let attendBackKeys: Kernel

    /// Of the distances that there are, some places closed.
    private let sines: DeviceMatrix
    private let positions: DeviceMatrix
    private let q: DeviceMatrix
    /// q with the positions' bias.
    private let asked: DeviceMatrix
    private let kv: DeviceMatrix
    private let heads: DeviceMatrix
    private let logSums: DeviceMatrix
    private let dHeads: DeviceMatrix
    private let dq: DeviceMatrix
    private let dkv: DeviceMatrix
    private let dPositions: DeviceMatrix
    /// Of each head how much all its queries want of a distance.
    private let wanted: DeviceMatrix
    private var dropout = larder_dropout.none

    private var headCount: Int { attention.settings.heads }
    private var width: Int { attention.settings.width }
    private var size: Int { width / headCount }

    init(
        _ attention: RelativeAttention,
        _ layers: DeviceLayers,
        _ room: Room
    ) throws(CUDAError) {
        self.attention = attention
        self.layers = layers
        self.room = room
        let width = attention.settings.width
        query = try DeviceLinear(attention.query, layers)
        keyAndValue = try DeviceLinear(attention.keyAndValue, layers)
        position = try DeviceLinear(attention.position, layers)
        output = try DeviceLinear(attention.output, layers)
        contentBias = try DeviceParameter(attention.contentBias, layers)
        positionBias = try DeviceParameter(attention.positionBias, layers)
        contentGradient = try layers.matrix(rows: 1, columns: width)
        positionGradient = try layers.matrix(rows: 1, columns: width)
        addBias = try layers.kernel("add_bias")
        attend = try layers.kernel("attend")
        attendBack = try layers.kernel("attend_back")
        attendBackKeys = try layers.kernel("attend_back_keys")
        sines = try layers.matrix(columns: width)
        positions = try layers.matrix(columns: width)
        q = try layers.matrix(columns: width)
        asked = try layers.matrix(columns: width)
        kv = try layers.matrix(columns: 2 * width)
        heads = try layers.matrix(columns: width)
        logSums = try layers.matrix(columns: attention.settings.heads)
        dHeads = try layers.matrix(columns: width)
        dq = try layers.matrix(columns: width)
        dkv = try layers.matrix(columns: 2 * width)
        dPositions = try layers.matrix(columns: width)
        wanted = try layers.matrix(columns: 1)
    }

    var parameters: [DeviceParameter] {
        [query, keyAndValue, position, output].flatMap(\.parameters) + [contentBias, positionBias]
    }

    var gradients: [DeviceParameter.Gradient] {
        [query, keyAndValue, position, output].flatMap(\.gradients) + [
            DeviceParameter.Gradient(parameter: contentBias, pieces: contentGradient),
            DeviceParameter.Gradient(parameter: positionBias, pieces: positionGradient),
        ]
    }

    /// `queries`: the rows of x that ask; `isLast`: those that were selected, else all.
    func forward(
        _ x: DeviceMatrix,
        _ sequences: DeviceSequences,
        queries: DeviceMatrix,
        isLast: Bool,
        into y: DeviceMatrix,
        _ step: Int
    ) throws(CUDAError) {
        dropout = attention.dropout.kernel(step: step, first: 0)
        let asking = isLast ? sequences.selected : sequences.all
        try query.forward(queries, into: q)
        try keyAndValue.forward(x, into: kv)
        try place(reach: max(1, sequences.longest), step)
        try asked.resize(rows: q.rows)
        var arguments = Kernel.Arguments()
        arguments.append(q.array)
        arguments.append(positionBias.values.array)
        arguments.append(asked.array)
        arguments.append(Int64(q.count))
        arguments.append(Int32(width))
        arguments.append(Int32(0))
        try addBias.launch(for: q.count, arguments)
        try heads.resize(rows: q.rows)
        try logSums.resize(rows: q.rows)
        for group in groups(sequences.all, asking) {
            try askDistances(group.queries)
            var arguments = begin(sequences, asking, group)
            arguments.append(heads.array)
            arguments.append(logSums.array)
            try launch(attend, group.queries.count, sharing: 1, arguments)
        }
        try output.forward(heads, into: y)
    }

    /// The gradients of what asked, added to `dQueries`, and of x: added to `dx`; after a forward pass with the same.
    func backward(
        _ gradient: DeviceMatrix,
        x: DeviceMatrix,
        _ sequences: DeviceSequences,
        queries: DeviceMatrix,
        isLast: Bool,
        dQueries: DeviceMatrix,
        dx: DeviceMatrix
    ) throws(CUDAError) {
        let asking = isLast ? sequences.selected : sequences.all
        try output.backward(gradient, x: heads, y: gradient, into: dHeads)
        try dq.resize(rows: q.rows)
        try dkv.resize(rows: kv.rows)
        try dPositions.resize(rows: positions.rows)
        for (place, group) in groups(sequences.all, asking).enumerated() {
            try askDistances(group.queries)
            try room.kept.resize(rows: room.byDistance.rows)
            try answerKeys(sequences, asking, group)
            try layers.sums(
                of: dq.operand(group.queries),
                adds: place > 0,
                into: contentGradient.operand()
            )
            try answerDistances(group.queries, adds: place > 0)
        }
        try query.backward(dq, x: queries, y: dq, into: dQueries, adds: true)
        try keyAndValue.backward(dkv, x: x, y: dkv, into: dx, adds: true)
        try position.backward(dPositions, x: sines, y: dPositions, into: nil)
    }

    // MARK: distances

    /// Makes r of the distances that sequences of up to `reach` rows have, from the greatest down; those that lie ahead
    /// only where they are seen.
    private func place(reach: Int, _ step: Int) throws(CUDAError) {
        let waves = try room.waves(reach: reach, width: width)
        let count = attention.settings.isCausal ? reach : 2 * reach - 1
        let first = waves.reach - reach
        try sines.resize(rows: count)
        // A distance has the same dropout, however long the longest sequence is.
        try layers.rows.copy(
            waves.matrix,
            first..<first + count,
            into: sines,
            attention.positionDropout.kernel(step: step, first: (1 << 20) - reach)
        )
        try position.forward(sines, into: positions)
    }

    /// A head's columns of some rows.
    private func operand(
        _ matrix: DeviceMatrix,
        _ rows: Range<Int>,
        head: Int
    ) -> MatrixProducts.Operand {
        MatrixProducts.Operand(
            matrix.array,
            from: rows.lowerBound * matrix.columns + head * size,
            rows: rows.count,
            columns: size,
            stride: matrix.columns
        )
    }

    /// What a head's queries want of each distance.
    private func distances(_ matrix: DeviceMatrix, _ queries: Int, head: Int)
        -> MatrixProducts.Operand
    {
        MatrixProducts.Operand(
            matrix.array,
            from: head * queries * positions.rows,
            rows: queries,
            columns: positions.rows
        )
    }

    /// (q + bias) · r of some queries, of one head after the other.
    private func askDistances(_ queries: Range<Int>) throws(CUDAError) {
        try room.byDistance.resize(rows: headCount * queries.count * positions.rows)
        for head in 0..<headCount {
            try layers.products.multiply(
                operand(asked, queries, head: head),
                operand(positions, 0..<positions.rows, head: head).transposed,
                into: distances(room.byDistance, queries.count, head: head)
            )
        }
    }

    /// The gradients of r, of what asked it, and of the bias.
    private func answerDistances(_ queries: Range<Int>, adds: Bool) throws(CUDAError) {
        try wanted.resize(rows: positions.rows)
        for head in 0..<headCount {
            let scores = distances(room.byDistance, queries.count, head: head)
            let r = operand(positions, 0..<positions.rows, head: head)
            try layers.products.multiply(
                scores,
                r,
                adds: true,
                into: operand(dq, queries, head: head)
            )
            try layers.products.multiply(
                scores.transposed,
                operand(asked, queries, head: head),
                adds: adds,
                into: operand(dPositions, 0..<positions.rows, head: head)
            )
            let column = wanted.operand()
            try layers.products.multiply(
                scores.transposed,
                layers.ones(queries.count),
                into: column
            )
            try layers.products.multiply(
                column.transposed,
                r,
                adds: adds,
                into: operand(positionGradient, 0..<1, head: head)
            )
        }
    }

    // MARK: keys

    /// Sequences that are worked on at a time.
    private struct Group {
        var keys: Range<Int>
        var queries: Range<Int>
    }

    private func groups(
        _ keys: DeviceSequences.Rows,
        _ asking: DeviceSequences.Rows
    ) -> [Group] {
        let most = room.block / (headCount * positions.rows)
        var groups: [Group] = []
        for sequence in 0..<keys.offsets.count - 1 {
            let own = Group(
                keys: Int(keys.offsets[sequence])..<Int(keys.offsets[sequence + 1]),
                queries: Int(asking.offsets[sequence])..<Int(asking.offsets[sequence + 1])
            )
            // No group without a query: there are no products of nothing.
            if let last = groups.last,
                own.queries.isEmpty || last.queries.isEmpty
                    || own.queries.upperBound - last.queries.lowerBound <= most
            {
                groups[groups.count - 1] = Group(
                    keys: last.keys.lowerBound..<own.keys.upperBound,
                    queries: last.queries.lowerBound..<own.queries.upperBound
                )
            } else {
                groups.append(own)
            }
        }
        return groups
    }

    /// The gradients of keys and values, and of the queries what they get from keys.
    private func answerKeys(
        _ sequences: DeviceSequences,
        _ asking: DeviceSequences.Rows,
        _ group: Group
    ) throws(CUDAError) {
        var arguments = begin(sequences, asking, group)
        arguments.append(dHeads.array)
        arguments.append(logSums.array)
        arguments.append(room.kept.array)
        arguments.append(dq.array)
        try launch(attendBack, group.queries.count, sharing: 2, arguments)
        arguments = Kernel.Arguments()
        arguments.append(q.array)
        arguments.append(contentBias.values.array)
        arguments.append(room.byDistance.array)
        arguments.append(room.kept.array)
        layers.batch.append(sequences.all.ends, to: &arguments)
        layers.batch.append(sequences.all.owners, to: &arguments)
        layers.batch.append(asking.ends, to: &arguments)
        layers.batch.append(asking.positions, to: &arguments)
        arguments.append(Int32(group.keys.lowerBound))
        arguments.append(Int32(group.queries.lowerBound))
        arguments.append(Int32(group.queries.count))
        append(sequences, to: &arguments)
        arguments.append(dHeads.array)
        arguments.append(dkv.array)
        try launch(attendBackKeys, group.keys.count, sharing: 0, arguments)
    }

    /// The first arguments of both ways over the queries.
    private func begin(
        _ sequences: DeviceSequences,
        _ asking: DeviceSequences.Rows,
        _ group: Group
    ) -> Kernel.Arguments {
        var arguments = Kernel.Arguments()
        arguments.append(q.array)
        arguments.append(contentBias.values.array)
        arguments.append(kv.array)
        arguments.append(room.byDistance.array)
        layers.batch.append(sequences.all.ends, to: &arguments)
        layers.batch.append(asking.owners, to: &arguments)
        layers.batch.append(asking.positions, to: &arguments)
        arguments.append(Int32(group.queries.lowerBound))
        append(sequences, to: &arguments)
        arguments.append(1 / Float(size).squareRoot())
        arguments.append(dropout)
        return arguments
    }

    private func append(_ sequences: DeviceSequences, to arguments: inout Kernel.Arguments) {
        arguments.append(Int32(size))
        arguments.append(Int32(max(1, sequences.longest)))
        arguments.append(Int32(positions.rows))
        arguments.append(Int32(attention.settings.isCausal ? 1 : 0))
    }

    /// A block for each of so many rows and each head, whose threads share some rows of a head.
    private func launch(
        _ kernel: Kernel,
        _ rows: Int,
        sharing shared: Int,
        _ arguments: Kernel.Arguments
    ) throws(CUDAError) {
        try kernel.launch(
            blocks: (rows, headCount),
            threads: (DeviceLayers.rowThreads, 1),
            sharedMemory: shared * size * MemoryLayout<Float>.stride,
            arguments
        )
    }
}
