// SPDX-License-Identifier: Apache-2.0
import CUDA

/// rows × columns floats that layers compute in on a device, row-major: what `RowBuffer` is on a processor.
final class DeviceMatrix {
    let columns: Int
    private(set) var rows = 0
    private(set) var array: DeviceArray<Float>
    private let device: Device

    init(columns: Int, on device: Device) throws(CUDAError) {
        self.columns = columns
        self.device = device
        array = try DeviceArray(0, on: device)
    }

    /// With the same values.
    init(_ buffer: RowBuffer, on device: Device) throws(CUDAError) {
        (rows, columns) = (buffer.rows, buffer.columns)
        self.device = device
        array = try DeviceArray(buffer.values, on: device)
    }

    var count: Int { rows * columns }

    /// What it holds is then undefined.
    func resize(rows: Int) throws(CUDAError) {
        if rows * columns > array.count {
            // The old one goes before the new one comes. A little more: batches differ.
            array = try DeviceArray(0, on: device)
            array = try DeviceArray((rows + rows / 8) * columns, on: device)
        }
        self.rows = rows
    }

    /// As an operand of products: some of its rows.
    func operand(_ rows: Range<Int>? = nil) -> MatrixProducts.Operand {
        let rows = rows ?? 0..<self.rows
        return MatrixProducts.Operand(
            array,
            from: rows.lowerBound * columns,
            rows: rows.count,
            columns: columns
        )
    }

    /// Waits until they are there.
    func values() throws(CUDAError) -> [Float] { try array.values(count) }

    /// Of all values; waits for them.
    func mean() throws(CUDAError) -> Double {
        try values().reduce(0) { $0 + Double($1) } / Double(max(1, count))
    }
}
