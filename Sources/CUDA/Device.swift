// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// A GPU: its memory, its kernels, its clock.
///
/// One caller has it at a time (`use`); what others ask for waits.
@safe package final class Device: Sendable {
    /// Such as NVIDIA H200.
    package let name: String
    /// 90 for 9.0.
    package let capability: Int
    package let multiprocessors: Int
    /// Bytes of a block's shared memory, where a kernel asks for more than the usual.
    package let sharedMemory: Int
    package let memory: Int
    /// Ticks a second, at most.
    private let clock: Double
    /// 12040 for 12.4.
    package let driverVersion: Int
    let driver: Driver
    private nonisolated(unsafe) let context: Driver.Handle
    private let lock = Mutex(())

    /// `number`: CUDA's, the fastest first, unless CUDA_DEVICE_ORDER is PCI_BUS_ID, as for `nvidia-smi`; `folders`:
    /// where libraries are looked for before the system's places.
    package init(number: Int = 0, folders: [String] = []) throws(CUDAError) {
        let library: DynamicLibrary
        do {
            library = try DynamicLibrary(["libcuda.so.1"], in: folders)
        } catch {
            throw .absent(
                "there is no CUDA driver: \(error.words)",
                hint: "install NVIDIA's driver, or leave the GPU out: --device cpu"
            )
        }
        let driver = try Driver(library)
        let status = driver.initialise(0)
        var count: CInt = 0
        if status == 0 { try unsafe driver.check(driver.deviceCount(&count), "cuDeviceGetCount") }
        // 100: CUDA_ERROR_NO_DEVICE.
        if status == 100 || status == 0 && count == 0 {
            throw .absent(
                "there is a CUDA driver, and no device",
                hint: "is one passed to this container (--gpus), and is CUDA_VISIBLE_DEVICES right?"
            )
        }
        try driver.check(status, "cuInit")
        guard (0..<Int(count)).contains(number) else {
            throw .unavailable(
                "there is no device cuda:\(number): there \(count == 1 ? "is one, cuda:0" : "are cuda:0 to cuda:\(count - 1)")",
                hint:
                    "`nvidia-smi -L` lists them; CUDA numbers them so with CUDA_DEVICE_ORDER=PCI_BUS_ID"
            )
        }
        var device: CInt = 0
        try unsafe driver.check(driver.device(&device, CInt(number)), "cuDeviceGet")
        func attribute(_ attribute: CInt) throws(CUDAError) -> Int {
            var value: CInt = 0
            try unsafe driver.check(
                driver.deviceAttribute(&value, attribute, device),
                "cuDeviceGetAttribute"
            )
            return Int(value)
        }
        var name = [CChar](repeating: 0, count: 256)
        try unsafe driver.check(driver.deviceName(&name, 255, device), "cuDeviceGetName")
        self.name = String(
            decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and so on, of cuda.h.
        capability = try 10 * attribute(75) + attribute(76)
        multiprocessors = try attribute(16)
        sharedMemory = try attribute(97)
        clock = try 1000 * Double(attribute(13))
        var version: CInt = 0
        try unsafe driver.check(driver.version(&version), "cuDriverGetVersion")
        driverVersion = Int(version)
        var context: Driver.Handle = nil
        try unsafe driver.check(
            driver.retainContext(&context, device),
            "cuDevicePrimaryCtxRetain"
        )
        try unsafe driver.check(driver.setContext(context), "cuCtxSetCurrent")
        var (free, total) = (0, 0)
        try unsafe driver.check(driver.memoryInfo(&free, &total), "cuMemGetInfo")
        memory = total
        self.driver = driver
        unsafe self.context = unsafe context
    }

    /// Has the device to oneself; the context is this thread's meanwhile.
    package func use<T>(_ body: () throws -> T) throws -> T {
        try lock.withLock { _ in
            try unsafe driver.check(driver.setContext(context), "cuCtxSetCurrent")
            return try body()
        }
    }

    /// From wherever the last owner was.
    func free(_ address: Driver.Address) {
        _ = unsafe driver.setContext(context)
        _ = driver.free(address)
    }

    /// From wherever the last owner was.
    func unpin(_ address: UnsafeMutableRawPointer) {
        _ = unsafe driver.setContext(context)
        _ = unsafe driver.unpin(address)
    }

    /// Waits until everything that was launched is done, and throws what went wrong in it.
    package func synchronise() throws(CUDAError) {
        try driver.check(driver.synchronise(), "cuCtxSynchronize")
    }

    /// Bytes that can be had.
    package func freeMemory() throws(CUDAError) -> Int {
        var (free, total) = (0, 0)
        try unsafe driver.check(driver.memoryInfo(&free, &total), "cuMemGetInfo")
        return free
    }

    /// Multiply-adds of 32 bits that it could do in a second, counted as two operations each.
    package var peak: Double {
        // NVIDIA's programming guide, "arithmetic instructions": 64 a multiprocessor up to 8.0, 128 from 8.6 on.
        let units = capability <= 80 ? 64 : 128
        return 2 * Double(units * multiprocessors) * clock
    }

    /// Seconds between two moments on the device's own clock.
    package func time(_ body: () throws -> Void) throws -> Double {
        try unsafe driver.check(driver.setContext(context), "cuCtxSetCurrent")
        var start: Driver.Handle = nil
        var end: Driver.Handle = nil
        try unsafe driver.check(driver.createEvent(&start, 0), "cuEventCreate")
        defer { _ = unsafe driver.destroyEvent(start) }
        try unsafe driver.check(driver.createEvent(&end, 0), "cuEventCreate")
        defer { _ = unsafe driver.destroyEvent(end) }
        try unsafe driver.check(driver.recordEvent(start, nil), "cuEventRecord")
        try body()
        try unsafe driver.check(driver.recordEvent(end, nil), "cuEventRecord")
        try unsafe driver.check(driver.waitForEvent(end), "cuEventSynchronize")
        var milliseconds: Float = 0
        try unsafe driver.check(driver.elapsed(&milliseconds, start, end), "cuEventElapsedTime")
        return Double(milliseconds) / 1000
    }
}
