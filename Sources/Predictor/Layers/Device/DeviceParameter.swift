// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// A parameter that is learned on a device, whose rows there are moved by their gradients.
final class DeviceParameter {
    let values: DeviceMatrix
    private let state: DeviceMatrix
    private let parameter: Parameter
    private let update: Kernel
    private let squares: Kernel
    /// Of the blocks that squares are added up in.
    private let partial: DeviceArray<Double>
    private static let blocks = 256

    init(_ parameter: Parameter, _ layers: DeviceLayers) throws(CUDAError) {
        self.parameter = parameter
        values = try DeviceMatrix(parameter.values, on: layers.device)
        state = try DeviceMatrix(parameter.state, on: layers.device)
        update = try layers.kernel("update")
        squares = try layers.kernel("squares")
        partial = try DeviceArray(Self.blocks, on: layers.device)
    }

    /// Brings what was learned to where it came from.
    func settle() throws(CUDAError) {
        parameter.values.fill(try values.values())
        parameter.state.fill(try state.values())
    }

    /// The gradient of all rows, or of some that a batch used.
    struct Gradient {
        let parameter: DeviceParameter
        /// A row of it, or several pieces that are to be added up.
        let pieces: DeviceMatrix
        /// Of the rows that there are, and where the pieces of each end; nil: of all, one each.
        var used: (rows: DeviceBatch.Part<Int32>, ends: DeviceBatch.Part<Int32>, DeviceBatch)?

        private var count: Int { used?.rows.count ?? pieces.rows }

        /// Waits for it.
        func squares() throws(CUDAError) -> Double {
            let threads = DeviceLayers.threads
            let blocks = min(
                DeviceParameter.blocks,
                (count * pieces.columns + threads - 1) / threads
            )
            var arguments = Kernel.Arguments()
            arguments.append(pieces.array)
            append(used?.ends, to: &arguments)
            arguments.append(Int32(count))
            arguments.append(Int32(pieces.columns))
            arguments.append(parameter.partial)
            try parameter.squares.launch(blocks: (blocks, 1), threads: (threads, 1), arguments)
            return try parameter.partial.values(blocks).reduce(0, +)
        }

        func update(_ optimiser: Optimiser) throws(CUDAError) {
            var arguments = Kernel.Arguments()
            append(used?.rows, to: &arguments)
            arguments.append(pieces.array)
            append(used?.ends, to: &arguments)
            arguments.append(Int32(count))
            arguments.append(Int32(pieces.columns))
            arguments.append(parameter.values.array)
            arguments.append(parameter.state.array)
            unsafe optimiser.withKernel { unsafe arguments.append($0.pointee) }
            try parameter.update.launch(for: count * pieces.columns, arguments)
        }

        private func append(_ part: DeviceBatch.Part<Int32>?, to arguments: inout Kernel.Arguments)
        {
            guard let part, let used else { return arguments.append(nil as DeviceArray<Int32>?) }
            used.2.append(part, to: &arguments)
        }
    }
}

extension [DeviceParameter.Gradient] {
    /// Of a step; waits for the gradients where they are to be clipped.
    func optimiser(
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int
    ) throws(CUDAError) -> Optimiser {
        var squares: Double?
        if settings.clips {
            var sum = 0.0
            for gradient in self { sum += try gradient.squares() }
            squares = sum
        }
        return Optimiser(settings, step: step, of: steps, squares: squares)
    }

    func update(_ optimiser: Optimiser) throws(CUDAError) {
        for gradient in self { try gradient.update(optimiser) }
    }
}
