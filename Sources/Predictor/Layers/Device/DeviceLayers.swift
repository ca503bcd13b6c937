// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What layers on a device share: its kernels, its products, and what a step takes there.
///
/// Everything of it within `Device.use`.
final class DeviceLayers {
    let device: Device
    let products: MatrixProducts
    let batch: DeviceBatch
    private let kernels: Kernels
    private let ones: DeviceMatrix

    /// As in layers.cu.
    static let threads = 256

    init(_ gpu: GPU) throws {
        device = gpu.device
        products = try gpu.products()
        batch = try DeviceBatch(on: device)
        kernels = try gpu.kernels(named: "layers", PackageResources.layers_cu)
        ones = try DeviceMatrix(columns: 1, on: device)
    }

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

    func matrix(columns: Int) throws(CUDAError) -> DeviceMatrix {
        try DeviceMatrix(columns: columns, on: device)
    }
}

extension Kernel {
    /// A thread for each of so many.
    func launch(for count: Int, _ arguments: Arguments) throws(CUDAError) {
        let blocks = (count + DeviceLayers.threads - 1) / DeviceLayers.threads
        try launch(blocks: (blocks, 1), threads: (DeviceLayers.threads, 1), arguments)
    }
}
