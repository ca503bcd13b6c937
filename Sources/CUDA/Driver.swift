// SPDX-License-Identifier: Apache-2.0

/// The functions of the CUDA driver that are used here, found at run time.
///
/// Those of its application interface that have stood since CUDA 3 to 11, so that drivers of CUDA 12 and 13 have them.
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
        func find<T>(_ name: String) throws(CUDAError) -> T {
            guard let function = library.function(name, T.self) else {
                throw .unavailable(
                    "the CUDA driver has no \(name)",
                    hint: "it is older than CUDA 12; install a newer one"
                )
            }
            return function
        }
        initialise = try find("cuInit")
        unsafe version = try find("cuDriverGetVersion")
        unsafe deviceCount = try find("cuDeviceGetCount")
        unsafe device = try find("cuDeviceGet")
        unsafe deviceName = try find("cuDeviceGetName")
        unsafe deviceAttribute = try find("cuDeviceGetAttribute")
        unsafe retainContext = try find("cuDevicePrimaryCtxRetain")
        unsafe setContext = try find("cuCtxSetCurrent")
        unsafe memoryInfo = try find("cuMemGetInfo_v2")
        unsafe allocate = try find("cuMemAlloc_v2")
        free = try find("cuMemFree_v2")
        unsafe upload = try find("cuMemcpyHtoD_v2")
        unsafe download = try find("cuMemcpyDtoH_v2")
        fill = try find("cuMemsetD8_v2")
        unsafe loadModule = try find("cuModuleLoadData")
        unsafe function = try find("cuModuleGetFunction")
        unsafe setFunction = try find("cuFuncSetAttribute")
        unsafe launch = try find("cuLaunchKernel")
        synchronise = try find("cuCtxSynchronize")
        unsafe createEvent = try find("cuEventCreate")
        unsafe recordEvent = try find("cuEventRecord")
        unsafe waitForEvent = try find("cuEventSynchronize")
        unsafe elapsed = try find("cuEventElapsedTime")
        unsafe destroyEvent = try find("cuEventDestroy_v2")
        unsafe errorName = try find("cuGetErrorName")
        unsafe errorWords = try find("cuGetErrorString")
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
