// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What layers on a device share: its kernels, its products, and what a step takes there.
///
/// Everything of it within `Device.use`.
final class DeviceLayers {
    let device: Device
    let products: MatrixProducts
    let batch: DeviceBatch
    let rows: DeviceRows
    private let kernels: Kernels
    private let ones: DeviceMatrix

    /// As in layers.cu.
    static let threads = 256
    /// Of blocks that have one row.
    static let rowThreads = 64

    init(_ gpu: GPU) throws {
        device = gpu.device
        products = try gpu.products()
        batch = try DeviceBatch(on: device)
        kernels = try gpu.kernels(named: "layers", Self.source)
        rows = try DeviceRows(kernels, batch)
        ones = try DeviceMatrix(columns: 1, on: device)
    }

    /// Of all kernels.
    static var source: [UInt8] { PackageResources.layers_cu + PackageResources.transformer_cu }

    func kernel(_ name: String) throws(CUDAError) -> Kernel {
        try kernels.kernel("layers_" + name)
    }

    /// So many ones, a column: its product with a matrix is the sum of that one's rows.
    func ones(_ rows: Int) throws(CUDAError) -> MatrixProducts.Operand {
        if ones.rows < rows {
            try ones.resize(rows: rows)
            try ones.array.upload([Float](repeating: 1, count: rows)[...])
        }
        return ones.operand(0..<rows)
    }

    /// Of each column of a matrix, as a row.
    func sums(
        of matrix: MatrixProducts.Operand,
        adds: Bool = false,
        into row: MatrixProducts.Operand
    ) throws(CUDAError) {
        try products.multiply(ones(matrix.rows).transposed, matrix, adds: adds, into: row)
    }

    func matrix(rows: Int = 0, columns: Int) throws(CUDAError) -> DeviceMatrix {
        let matrix = try DeviceMatrix(columns: columns, on: device)
        try matrix.resize(rows: rows)
        return matrix
    }
}

extension Kernel {
    /// A block for each of so many rows.
    func launch(rows: Int, _ arguments: Arguments) throws(CUDAError) {
        try launch(blocks: (rows, 1), threads: (DeviceLayers.rowThreads, 1), arguments)
    }

    /// A thread for each of so many.
    func launch(for count: Int, _ arguments: Arguments) throws(CUDAError) {
        let blocks = (count + DeviceLayers.threads - 1) / DeviceLayers.threads
        try launch(blocks: (blocks, 1), threads: (DeviceLayers.threads, 1), arguments)
    }
}
