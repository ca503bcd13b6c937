// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// A parameter that is learned on a device, whose rows there are moved by their gradients.
final class DeviceParameter {
    let values: DeviceMatrix
    private let state: DeviceMatrix
    /// Where it came from.
    let parameter: Parameter
    private let update: Kernel
    private let squares: Kernel

    init(_ parameter: Parameter, _ layers: DeviceLayers) throws(CUDAError) {
        self.parameter = parameter
        values = try DeviceMatrix(parameter.values, on: layers.device)
        state = try DeviceMatrix(parameter.state, on: layers.device)
        update = try layers.kernel("update")
        squares = try layers.kernel("squares")
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

        /// Of threads that add up its squares.
        var blocks: Int {
            let threads = DeviceLayers.threads
            return min(256, (count * pieces.columns + threads - 1) / threads)
        }

        /// Writes the sum of the squares of each block's part.
        func sumSquares(into sums: DeviceArray<Double>, from first: Int) throws(CUDAError) {
            var arguments = Kernel.Arguments()
            arguments.append(pieces.array)
            append(used?.ends, to: &arguments)
            arguments.append(Int32(count))
            arguments.append(Int32(pieces.columns))
            arguments.append(sums, from: first)
            try parameter.squares.launch(
                blocks: (blocks, 1),
                threads: (DeviceLayers.threads, 1),
                arguments
            )
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
