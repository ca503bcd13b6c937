// SPDX-License-Identifier: Apache-2.0

/// The functions of the CUDA driver that are used here, found at run time.
///
/// Drivers of CUDA 12 and 13 have all of them, under these very names.
@safe struct Driver: Sendable {
    typealias Status = CInt
    typealias Handle = UnsafeMutableRawPointer?
    /// An address in the device's memory.
    typealias Address = UInt64

    let initialise: @convention(c) (CUnsignedInt) -> Status
    let version: @convention(c) (UnsafeMutablePointer<CInt>) -> Status
    let deviceCount: @convention(c) (UnsafeMutablePointer<CInt>) -> Status
    let device: @convention(c) (UnsafeMutablePointer<CInt>, CInt) -> Status
    let deviceName: @convention(c) (UnsafeMutablePointer<CChar>, CInt, CInt) -> Status
    let deviceAttribute: @convention(c) (UnsafeMutablePointer<CInt>, CInt, CInt) -> Status
    let retainContext: @convention(c) (UnsafeMutablePointer<Handle>, CInt) -> Status
    let setContext: @convention(c) (Handle) -> Status
    let memoryInfo: @convention(c) (UnsafeMutablePointer<Int>, UnsafeMutablePointer<Int>) -> Status
    let allocate: @convention(c) (UnsafeMutablePointer<Address>, Int) -> Status
    let free: @convention(c) (Address) -> Status
    let upload: @convention(c) (Address, UnsafeRawPointer?, Int) -> Status
    let download: @convention(c) (UnsafeMutableRawPointer?, Address, Int) -> Status
    let pin: @convention(c) (UnsafeMutableRawPointer, Int, CUnsignedInt) -> Status
    let unpin: @convention(c) (UnsafeMutableRawPointer) -> Status
    let fill: @convention(c) (Address, CUnsignedChar, Int) -> Status
    let loadModule: @convention(c) (UnsafeMutablePointer<Handle>, UnsafeRawPointer) -> Status
    let function:
        @convention(c) (UnsafeMutablePointer<Handle>, Handle, UnsafePointer<CChar>) -> Status
    let setFunction: @convention(c) (Handle, CInt, CInt) -> Status
    let launch:
        @convention(c) (
            Handle, CUnsignedInt, CUnsignedInt, CUnsignedInt, CUnsignedInt, CUnsignedInt,
            CUnsignedInt, CUnsignedInt, Handle, UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
            UnsafeMutablePointer<UnsafeMutableRawPointer?>?
        ) -> Status
    let synchronise: @convention(c) () -> Status
    let createEvent: @convention(c) (UnsafeMutablePointer<Handle>, CUnsignedInt) -> Status
    let recordEvent: @convention(c) (Handle, Handle) -> Status
    let waitForEvent: @convention(c) (Handle) -> Status
    let elapsed: @convention(c) (UnsafeMutablePointer<Float>, Handle, Handle) -> Status
    let destroyEvent: @convention(c) (Handle) -> Status
    let errorName: @convention(c) (Status, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Status
    let errorWords: @convention(c) (Status, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Status

    /// Throws where a function is missing: the driver is too old.
    init(_ library: DynamicLibrary) throws(CUDAError) {
        initialise = try library.function("cuInit")
        unsafe version = try library.function("cuDriverGetVersion")
        unsafe deviceCount = try library.function("cuDeviceGetCount")
        unsafe device = try library.function("cuDeviceGet")
        unsafe deviceName = try library.function("cuDeviceGetName")
        unsafe deviceAttribute = try library.function("cuDeviceGetAttribute")
        unsafe retainContext = try library.function("cuDevicePrimaryCtxRetain")
        unsafe setContext = try library.function("cuCtxSetCurrent")
        unsafe memoryInfo = try library.function("cuMemGetInfo_v2")
        unsafe allocate = try library.function("cuMemAlloc_v2")
        free = try library.function("cuMemFree_v2")
        unsafe upload = try library.function("cuMemcpyHtoD_v2")
        unsafe download = try library.function("cuMemcpyDtoH_v2")
        unsafe pin = try library.function("cuMemHostRegister_v2")
        unsafe unpin = try library.function("cuMemHostUnregister")
        fill = try library.function("cuMemsetD8_v2")
        unsafe loadModule = try library.function("cuModuleLoadData")
        unsafe function = try library.function("cuModuleGetFunction")
        unsafe setFunction = try library.function("cuFuncSetAttribute")
        unsafe launch = try library.function("cuLaunchKernel")
        synchronise = try library.function("cuCtxSynchronize")
        unsafe createEvent = try library.function("cuEventCreate")
        unsafe recordEvent = try library.function("cuEventRecord")
        unsafe waitForEvent = try library.function("cuEventSynchronize")
        unsafe elapsed = try library.function("cuEventElapsedTime")
        unsafe destroyEvent = try library.function("cuEventDestroy_v2")
        unsafe errorName = try library.function("cuGetErrorName")
        unsafe errorWords = try library.function("cuGetErrorString")
    }

    func check(_ status: Status, _ call: String) throws(CUDAError) {
        guard status != 0 else { return }
        throw .failed(call: call, name: text(status, name: true), words: text(status, name: false))
    }

    private func text(_ status: Status, name: Bool) -> String {
        var text: UnsafePointer<CChar>?
        _ = unsafe name ? errorName(status, &text) : errorWords(status, &text)
        return unsafe text.map { unsafe String(cString: $0) } ?? "error \(status)"
    }
}
