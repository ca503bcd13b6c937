// SPDX-License-Identifier: Apache-2.0

/// Kernels that were compiled together.
@safe package struct Kernels: Sendable {
    private let device: Device
    private nonisolated(unsafe) let module: Driver.Handle

    /// `image`: what `KernelCompiler` made for this device.
    package init(_ image: [UInt8], on device: Device) throws(CUDAError) {
        var module: Driver.Handle = nil
        // PTX is text, and ends with a zero.
        let status = unsafe (image + [0]).withUnsafeBytes { bytes -> Driver.Status in
            guard let start = bytes.baseAddress else { return 1 }
            return unsafe device.driver.loadModule(&module, start)
        }
        try device.driver.check(status, "cuModuleLoadData")
        self.device = device
        unsafe self.module = unsafe module
    }

    /// `sharedMemory`: the most bytes that it is launched with, where that is more than any kernel may have
    /// (48 KiB); for all who have this kernel, until it is asked for again.
    package func kernel(_ name: String, sharedMemory: Int = 0) throws(CUDAError) -> Kernel {
        var function: Driver.Handle = nil
        try unsafe device.driver.check(
            device.driver.function(&function, module, name),
            "cuModuleGetFunction of \(name)"
        )
        // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: above the usual a kernel says what it wants.
        if sharedMemory > 0 {
            try unsafe device.driver.check(
                device.driver.setFunction(function, 8, CInt(sharedMemory)),
                "cuFuncSetAttribute of \(name)"
            )
        }
        return unsafe Kernel(device: device, function: function, name: name)
    }
}

/// A function on the device.
@safe package struct Kernel: Sendable {
    fileprivate let device: Device
    fileprivate nonisolated(unsafe) let function: Driver.Handle
    fileprivate let name: String

    fileprivate init(device: Device, function: Driver.Handle, name: String) {
        self.device = device
        unsafe self.function = unsafe function
        self.name = name
    }

    /// Of one launch, in the order of the kernel's parameters and of their very types.
    package struct Arguments {
        private(set) var bytes: [UInt8] = []
        private(set) var offsets: [Int] = []

        package init() {}

        /// Nil: a null pointer; `first`: the element that it points to.
        package mutating func append<Element>(_ array: DeviceArray<Element>?, from first: Int = 0) {
            append(array.map { $0.address + UInt64(first * MemoryLayout<Element>.stride) } ?? 0)
        }

        package mutating func append(_ value: some BitwiseCopyable) {
            let alignment = MemoryLayout.alignment(ofValue: value)
            let gap = (alignment - bytes.count % alignment) % alignment
            bytes += [UInt8](repeating: 0, count: gap)
            offsets.append(bytes.count)
            unsafe withUnsafeBytes(of: value) { unsafe bytes.append(contentsOf: $0) }
        }
    }

    /// Returns at once; `Device.synchronise` and downloads wait.
    package func launch(
        blocks: (x: Int, y: Int),
        threads: (x: Int, y: Int),
        sharedMemory: Int = 0,
        _ arguments: Arguments
    ) throws(CUDAError) {
        guard blocks.x > 0, blocks.y > 0 else { return }
        var bytes = arguments.bytes
        let status = unsafe bytes.withUnsafeMutableBytes { bytes -> Driver.Status in
            var places = unsafe arguments.offsets.map { offset in
                unsafe bytes.baseAddress.map { unsafe $0 + offset }
            }
            return unsafe device.driver.launch(
                function,
                CUnsignedInt(blocks.x),
                CUnsignedInt(blocks.y),
                1,
                CUnsignedInt(threads.x),
                CUnsignedInt(threads.y),
                1,
                CUnsignedInt(sharedMemory),
                nil,
                &places,
                nil
            )
        }
        try device.driver.check(status, "cuLaunchKernel of \(name)")
    }
}
