// SPDX-License-Identifier: Apache-2.0

/// Values in a device's memory, freed with it.
///
/// To be made and used inside `Device.use`.
@safe package final class DeviceArray<Element: BitwiseCopyable> {
    package let count: Int
    let address: Driver.Address
    private let device: Device

    /// What is in it is not said.
    package init(_ count: Int, on device: Device) throws(CUDAError) {
        let bytes = max(1, count) * MemoryLayout<Element>.stride
        var address: Driver.Address = 0
        let status = unsafe device.driver.allocate(&address, bytes)
        // CUDA_ERROR_OUT_OF_MEMORY.
        if status == 2 {
            throw .outOfMemory(wanted: bytes, free: try device.freeMemory(), of: device.memory)
        }
        try device.driver.check(status, "cuMemAlloc")
        (self.count, self.address, self.device) = (count, address, device)
    }

    package convenience init(_ values: [Element], on device: Device) throws(CUDAError) {
        try self.init(values.count, on: device)
        try upload(values[...])
    }

    deinit { device.free(address) }

    /// To its beginning.
    package func upload(_ values: ArraySlice<Element>) throws(CUDAError) {
        precondition(values.count <= count)
        let status = unsafe values.withUnsafeBytes { bytes in
            unsafe device.driver.upload(address, bytes.baseAddress, bytes.count)
        }
        try device.driver.check(status, "cuMemcpyHtoD")
    }

    /// All of them, or so many first ones; waits for what was launched before.
    package func values(_ wanted: Int? = nil) throws(CUDAError) -> [Element] {
        let count = wanted ?? count
        precondition(count <= self.count)
        var status: Driver.Status = 0
        let values = unsafe [Element](unsafeUninitializedCapacity: count) { values, filled in
            status = unsafe device.driver.download(
                values.baseAddress,
                address,
                count * MemoryLayout<Element>.stride
            )
            // Elements are any bytes whatsoever, and nobody sees them where the copy failed.
            filled = status == 0 ? count : 0
        }
        try device.driver.check(status, "cuMemcpyDtoH")
        return values
    }

    /// All bytes nothing.
    package func clear() throws(CUDAError) {
        try device.driver.check(
            device.driver.fill(address, 0, count * MemoryLayout<Element>.stride),
            "cuMemsetD8"
        )
    }
}
