// SPDX-License-Identifier: Apache-2.0
import CKernels
import CUDA

/// Moves rows of matrices about on a device.
final class DeviceRows {
    private let batch: DeviceBatch
    private let copy: Kernel
    private let put: Kernel
    private let embed: Kernel
    private let addBias: Kernel

    init(_ kernels: Kernels, _ batch: DeviceBatch) throws(CUDAError) {
        self.batch = batch
        copy = try kernels.kernel("layers_copy")
        put = try kernels.kernel("layers_put_rows")
        embed = try kernels.kernel("layers_embed")
        addBias = try kernels.kernel("layers_add_bias")
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
        var source = Kernel.Arguments()
        source.append(from.array, from: rows.lowerBound * from.columns)
        source.append(Int32(from.columns))
        source.append(Int32(column))
        try copy(source, rows.count, width, into: to, row: row, at: there, dropout)
    }

    /// All of a matrix, from the batch.
    func copy(_ from: DeviceBatch.Part<Float>, into to: DeviceMatrix) throws(CUDAError) {
        precondition(from.count == to.count, "as many")
        var source = Kernel.Arguments()
        batch.append(from, to: &source)
        source.append(Int32(to.columns))
        source.append(Int32(0))
        try copy(source, to.rows, to.columns, into: to, row: 0, at: 0, .none)
    }

    private func copy(
        _ source: Kernel.Arguments,
        _ rows: Int,
        _ width: Int,
        into to: DeviceMatrix,
        row: Int,
        at column: Int,
        _ dropout: larder_dropout
    ) throws(CUDAError) {
        var arguments = source
        arguments.append(to.array, from: row * to.columns)
        arguments.append(Int32(to.columns))
        arguments.append(Int32(column))
        arguments.append(Int32(width))
        arguments.append(Int64(rows * width))
        arguments.append(dropout)
        try copy.launch(for: rows * width, arguments)
    }

    /// Writes columns of `y` from `column` on: rows of a table, or, with offsets, means of some.
    ///
    /// `entry`: the code of the first row.
    func embed(
        _ codes: DeviceBatch.Part<Int32>,
        from entry: Int = 0,
        _ offsets: DeviceBatch.Part<Int32>? = nil,
        of table: DeviceArray<Float>,
        width: Int,
        into y: DeviceMatrix,
        column: Int
    ) throws(CUDAError) {
        var arguments = Kernel.Arguments()
        arguments.append(table)
        arguments.append(Int32(width))
        batch.append(codes, from: entry, to: &arguments)
        batch.append(offsets, to: &arguments)
        arguments.append(y.array)
        arguments.append(Int32(y.columns))
        arguments.append(Int32(column))
        arguments.append(Int32(y.rows))
        try embed.launch(for: y.rows * width, arguments)
    }

    /// y = x + bias, and nothing less than zero where it rectifies; y may be x.
    func addBias(
        _ bias: DeviceParameter,
        to x: DeviceMatrix,
        into y: DeviceMatrix,
        rectifies: Bool
    ) throws(CUDAError) {
        try y.resize(rows: x.rows)
        var arguments = Kernel.Arguments()
        arguments.append(x.array)
        arguments.append(bias.values.array)
        arguments.append(y.array)
        arguments.append(Int64(x.count))
        arguments.append(Int32(x.columns))
        arguments.append(Int32(rectifies ? 1 : 0))
        try addBias.launch(for: x.count, arguments)
    }

    /// to = these rows of another.
    func gather(
        _ rows: DeviceBatch.Part<Int32>,
        of from: DeviceMatrix,
        into to: DeviceMatrix
    ) throws(CUDAError) {
        try to.resize(rows: rows.count)
        try embed(rows, of: from.array, width: from.columns, into: to, column: 0)
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
