// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// Moves rows of matrices about on a device.
final class DeviceRows {
    private let batch: DeviceBatch
    private let copy: Kernel
    private let put: Kernel
    private let embed: Kernel

    init(_ kernels: Kernels, _ batch: DeviceBatch) throws(CUDAError) {
        self.batch = batch
        copy = try kernels.kernel("layers_copy")
        put = try kernels.kernel("layers_put_rows")
        embed = try kernels.kernel("layers_embed")
    }

    /// Copies some rows, nil: all, to rows and columns of another, or of the same, that are there; as many columns as
    /// both have from there on.
    ///
    /// `dropout` closes some places, counted from the first row that is copied.
    func copy(
        _ from: DeviceMatrix,
        _ rows: Range<Int>? = nil,
        column: Int = 0,
        into to: DeviceMatrix,
        row: Int = 0,
        at there: Int = 0,
        _ dropout: larder_dropout = .none
    ) throws(CUDAError) {
        let rows = rows ?? 0..<from.rows
        let width = min(from.columns - column, to.columns - there)
        precondition(
            rows.upperBound <= from.rows && row + rows.count <= to.rows && width > 0,
            "places that are there"
        )
        var arguments = Kernel.Arguments()
        arguments.append(from.array, from: rows.lowerBound * from.columns)
        arguments.append(Int32(from.columns))
        arguments.append(Int32(column))
        arguments.append(to.array, from: row * to.columns)
        arguments.append(Int32(to.columns))
        arguments.append(Int32(there))
        arguments.append(Int32(width))
        arguments.append(Int64(rows.count * width))
        arguments.append(dropout)
        try copy.launch(for: rows.count * width, arguments)
    }

    /// All of a matrix, from the batch.
    func copy(_ from: DeviceBatch.Part<Float>, into to: DeviceMatrix) throws(CUDAError) {
        precondition(from.count == to.count, "as many")
        var arguments = Kernel.Arguments()
        batch.append(from, to: &arguments)
        arguments.append(Int32(to.columns))
        arguments.append(Int32(0))
        arguments.append(to.array)
        arguments.append(Int32(to.columns))
        arguments.append(Int32(0))
        arguments.append(Int32(to.columns))
        arguments.append(Int64(to.count))
        arguments.append(larder_dropout.none)
        try copy.launch(for: to.count, arguments)
    }

    /// to = these rows of another.
    func gather(
        _ rows: DeviceBatch.Part<Int32>,
        of from: DeviceMatrix,
        into to: DeviceMatrix
    ) throws(CUDAError) {
        try to.resize(rows: rows.count)
        // An embedding whose codes are the rows.
        var arguments = Kernel.Arguments()
        arguments.append(from.array)
        arguments.append(Int32(from.columns))
        batch.append(rows, to: &arguments)
        arguments.append(nil as DeviceArray<Int32>?)
        arguments.append(to.array)
        arguments.append(Int32(to.columns))
        arguments.append(Int32(0))
        arguments.append(Int32(to.rows))
        try embed.launch(for: to.count, arguments)
    }

    /// Adds the rows of a matrix to these of another, each of which is named once.
    func scatter(
        _ from: DeviceMatrix,
        to rows: DeviceBatch.Part<Int32>,
        of to: DeviceMatrix
    ) throws(CUDAError) {
        try put(from.array, stride: from.columns, in: rows, of: to, adds: true)
    }

    /// Makes each of these rows this one; nil: zeros.
    func fill(
        _ rows: DeviceBatch.Part<Int32>,
        of matrix: DeviceMatrix,
        with row: DeviceMatrix?
    ) throws(CUDAError) {
        try put(row?.array, stride: 0, in: rows, of: matrix, adds: false)
    }

    private func put(
        _ from: DeviceArray<Float>?,
        stride: Int,
        in rows: DeviceBatch.Part<Int32>,
        of to: DeviceMatrix,
        adds: Bool
    ) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        batch.append(rows, to: &arguments)
        arguments.append(from)
        arguments.append(Int32(stride))
        arguments.append(to.array)
        arguments.append(Int32(to.columns))
        arguments.append(Int64(rows.count * to.columns))
        arguments.append(Int32(adds ? 1 : 0))
        try put.launch(for: rows.count * to.columns, arguments)
    }
}
