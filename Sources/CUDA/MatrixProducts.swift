// SPDX-License-Identifier: Apache-2.0

/// Matrix products on a device (cuBLAS).
///
/// In 32 bits, TensorFloat-32 not used, and sums in the same order each time on the same card.
/// To be made and used inside `Device.use`.
@safe package final class MatrixProducts: Sendable {
    private let library: Library
    private nonisolated(unsafe) let handle: Driver.Handle

    /// A matrix of floats in a device's memory: row-major, `stride` floats from row to row.
    package struct Operand {
        fileprivate let address: Driver.Address
        package let rows: Int
        fileprivate let columns: Int
        fileprivate let stride: Int
        fileprivate var isTransposed = false

        /// `first`: the place of its first value in the array.
        package init(
            _ array: DeviceArray<Float>,
            from first: Int = 0,
            rows: Int,
            columns: Int,
            stride: Int? = nil
        ) {
            let stride = stride ?? columns
            precondition(
                rows == 0 || first + (rows - 1) * stride + columns <= array.count,
                "a matrix inside its array"
            )
            address = array.address + UInt64(first * MemoryLayout<Float>.stride)
            self.rows = rows
            self.columns = columns
            self.stride = stride
        }

        /// To be multiplied as if it lay the other way.
        package var transposed: Operand {
            var operand = self
            operand.isTransposed = true
            return operand
        }
    }

    /// `folders`: as for `Device`.
    package init(on device: Device, folders: [String] = []) throws(CUDAError) {
        // What a newer CUDA computes with an older driver may refuse.
        let versions = device.driverVersion >= 13_000 ? ["13", "12"] : ["12"]
        let found: DynamicLibrary
        do {
            found = try DynamicLibrary(versions.map { "libcublas.so.\($0)" }, in: folders)
        } catch {
            throw .unavailable(
                "there is no cuBLAS: \(error.words)",
                hint:
                    "install CUDA's toolkit, or name the folder of PyPI's nvidia-cublas\(versions[0] == "12" ? "-cu12" : "") with LARDER_CUDA"
            )
        }
        library = try Library(found)
        var handle: Driver.Handle = nil
        try unsafe library.check(library.create(&handle), "cublasCreate")
        unsafe self.handle = unsafe handle
    }

    deinit { _ = unsafe library.destroy(handle) }

    /// c = scale · a · b + (c, if `adds`).
    package func multiply(
        _ a: Operand,
        _ b: Operand,
        scale: Float = 1,
        adds: Bool = false,
        into c: Operand
    ) throws(CUDAError) {
        let (rows, depth) = a.isTransposed ? (a.columns, a.rows) : (a.rows, a.columns)
        let (depthOfB, columns) = b.isTransposed ? (b.columns, b.rows) : (b.rows, b.columns)
        precondition(
            depth == depthOfB && rows == c.rows && columns == c.columns && !c.isTransposed,
            "shapes that do not fit: \(rows) × \(depth), \(depthOfB) × \(columns)"
        )
        guard rows > 0, columns > 0 else { return }
        var (scale, kept): (Float, Float) = (scale, adds ? 1 : 0)
        // cuBLAS has columns where there are rows here: cᵀ = bᵀ · aᵀ.
        try unsafe library.check(
            library.multiply(
                handle,
                b.isTransposed ? 1 : 0,
                a.isTransposed ? 1 : 0,
                CInt(columns),
                CInt(rows),
                CInt(depth),
                &scale,
                b.address,
                CInt(b.stride),
                a.address,
                CInt(a.stride),
                &kept,
                c.address,
                CInt(c.stride)
            ),
            "cublasSgemm"
        )
    }
}

/// The functions of cuBLAS that are used here.
@safe private struct Library: Sendable {
    typealias Status = CInt
    typealias Handle = Driver.Handle

    let create: @convention(c) (UnsafeMutablePointer<Handle>) -> Status
    let destroy: @convention(c) (Handle) -> Status
    let multiply:
        @convention(c) (
            Handle, CInt, CInt, CInt, CInt, CInt, UnsafePointer<Float>, Driver.Address, CInt,
            Driver.Address, CInt, UnsafePointer<Float>, Driver.Address, CInt
        ) -> Status
    let name: @convention(c) (Status) -> UnsafePointer<CChar>?
    let words: @convention(c) (Status) -> UnsafePointer<CChar>?

    init(_ library: DynamicLibrary) throws(CUDAError) {
        unsafe create = try library.function("cublasCreate_v2")
        unsafe destroy = try library.function("cublasDestroy_v2")
        unsafe multiply = try library.function("cublasSgemm_v2")
        unsafe name = try library.function("cublasGetStatusName")
        unsafe words = try library.function("cublasGetStatusString")
    }

    func check(_ status: Status, _ call: String) throws(CUDAError) {
        guard status != 0 else { return }
        throw .failed(
            call: call,
            name: unsafe name(status).map { unsafe String(cString: $0) } ?? "error \(status)",
            words: unsafe words(status).map { unsafe String(cString: $0) } ?? "of cuBLAS"
        )
    }
}
