// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// `RelativeAttention` on a device, in training.
///
/// A block of threads does a query and a head, and on the way back a key and a head; `DeviceDistances` what needs none.
final class DeviceAttention {
    private let attention: RelativeAttention
    private let layers: DeviceLayers
    private let room: DeviceAttentionRoom
    private let query: DeviceLinear
    private let keyAndValue: DeviceLinear
    private let distances: DeviceDistances
    private let output: DeviceLinear
    private let contentBias: DeviceParameter
    private let contentGradient: DeviceMatrix
    private let attend: Kernel
    private let attendBack: Kernel
    private let attendBackKeys: Kernel

    private let q: DeviceMatrix
    private let kv: DeviceMatrix
    private let heads: DeviceMatrix
    private let logSums: DeviceMatrix
    private let dHeads: DeviceMatrix
    private let dq: DeviceMatrix
    private let dkv: DeviceMatrix
    private var dropout = larder_dropout.none

    private var headCount: Int { attention.settings.heads }
    private var size: Int { attention.settings.headWidth }

    init(
        _ attention: RelativeAttention,
        _ layers: DeviceLayers,
        _ room: DeviceAttentionRoom
    ) throws(CUDAError) {
        self.attention = attention
        self.layers = layers
        self.room = room
        let width = attention.settings.width
        query = try DeviceLinear(attention.query, layers)
        keyAndValue = try DeviceLinear(attention.keyAndValue, layers)
        distances = try DeviceDistances(attention, layers, room)
        output = try DeviceLinear(attention.output, layers)
        contentBias = try DeviceParameter(attention.contentBias, layers)
        contentGradient = try layers.matrix(rows: 1, columns: width)
        attend = try layers.kernel("attend")
        attendBack = try layers.kernel("attend_back")
        attendBackKeys = try layers.kernel("attend_back_keys")
        q = try layers.matrix(columns: width)
        kv = try layers.matrix(columns: 2 * width)
        heads = try layers.matrix(columns: width)
        logSums = try layers.matrix(columns: attention.settings.heads)
        dHeads = try layers.matrix(columns: width)
        dq = try layers.matrix(columns: width)
        dkv = try layers.matrix(columns: 2 * width)
    }

    var parameters: [DeviceParameter] {
        [query, keyAndValue, output].flatMap(\.parameters) + [contentBias] + distances.parameters
    }

    var gradients: [DeviceParameter.Gradient] {
        [query, keyAndValue, output].flatMap(\.gradients)
            + [DeviceParameter.Gradient(parameter: contentBias, pieces: contentGradient)]
            + distances.gradients
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
        try distances.begin(q, reach: sequences.reach, step: step)
        try heads.resize(rows: q.rows)
        try logSums.resize(rows: q.rows)
        for group in groups(sequences, asking) {
            try distances.ask(group.queries)
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
        for (place, group) in groups(sequences, asking).enumerated() {
            try distances.ask(group.queries)
            try room.kept.resize(rows: room.byDistance.rows)
            try answerKeys(sequences, asking, group)
            try layers.sums(
                of: dq.operand(group.queries),
                adds: place > 0,
                into: contentGradient.operand()
            )
            try distances.answer(group.queries, into: dq, adds: place > 0)
        }
        try query.backward(dq, x: queries, y: dq, into: dQueries, adds: true)
        try keyAndValue.backward(dkv, x: x, y: dkv, into: dx, adds: true)
        try distances.finish()
    }

    // MARK: keys

    private func groups(_ sequences: DeviceSequences, _ asking: DeviceSequences.Rows)
        -> [DeviceSequences.Group]
    {
        sequences.groups(asking, most: room.block / (headCount * distances.count))
    }

    /// The gradients of keys and values, and of the queries what they get from keys.
    private func answerKeys(
        _ sequences: DeviceSequences,
        _ asking: DeviceSequences.Rows,
        _ group: DeviceSequences.Group
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
        _ group: DeviceSequences.Group
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
        arguments.append(Int32(sequences.reach))
        arguments.append(Int32(distances.count))
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
