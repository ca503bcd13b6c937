// SPDX-License-Identifier: Apache-2.0
/// Compiles kernels (NVRTC).
package struct KernelCompiler: Sendable {
    private let library: Library
    /// Such as 12.9.
    package let version: String

    /// What kernels are compiled for.
    package struct Target: Sendable {
        /// `sm_90`, or `compute_90` of what the driver translates.
        package let name: String
        let isBinary: Bool
    }

    /// `driver`: the version of the device's, such as 12090; `folders`: as for `Device`.
    package init(for driver: Int, folders: [String] = []) throws(CUDAError) {
        // What a newer CUDA compiles an older driver may refuse.
        let names =
            (driver >= 13_000 ? ["libnvrtc.so.13"] : []) + ["libnvrtc.so.12", "libnvrtc.so"]
        let found: DynamicLibrary
        do {
            found = try DynamicLibrary(names, in: folders)
        } catch {
            throw .unavailable(
                "there is no compiler of CUDA kernels: \(error.words)",
                hint:
                    "install NVRTC (apt-get install cuda-nvrtc-12-9, or pip install nvidia-cuda-nvrtc-cu12) and say where in LARDER_CUDA, if the system does not know"
            )
        }
        library = try Library(found)
        var (major, minor): (CInt, CInt) = (0, 0)
        try unsafe library.check(library.version(&major, &minor), "nvrtcVersion")
        version = "\(major).\(minor)"
    }

    /// For cards of a capability, such as 90 of 9.0; where the compiler is older than the card, the newest that it
    /// knows, which the driver translates.
    package func target(for capability: Int) throws(CUDAError) -> Target {
        let known = try architectures()
        guard let newest = known.last(where: { $0 <= capability }) else {
            throw .unavailable(
                "this version of NVRTC, \(version), compiles for cards from \(known.first ?? 0) on, not for \(capability)",
                hint: "use an older CUDA, or leave the GPU out: --device cpu"
            )
        }
        let isKnown = newest == capability
        return Target(name: (isKnown ? "sm_" : "compute_") + "\(newest)", isBinary: isKnown)
    }

    /// An image that `Kernels` takes.
    package func compile(
        _ source: String,
        name: String,
        for target: Target
    ) throws(CUDAError) -> [UInt8] {
        let options = ["--gpu-architecture=\(target.name)", "--std=c++17"]
        var program: Driver.Handle = nil
        try unsafe library.check(
            library.create(&program, source, "\(name).cu", 0, nil, nil),
            "nvrtcCreateProgram"
        )
        defer { _ = unsafe library.destroy(&program) }
        let status = unsafe withTexts(options) {
            unsafe library.compile(program, CInt(options.count), $0)
        }
        // NVRTC_ERROR_COMPILATION.
        if status == 6 {
            let log = try unsafe bytes(
                of: program,
                library.logSize,
                library.log,
                "nvrtcGetProgramLog"
            )
            throw .uncompiled(
                kernel: name,
                log: String(decoding: log.prefix { $0 != 0 }, as: UTF8.self)
            )
        }
        try library.check(status, "nvrtcCompileProgram")
        return try unsafe target.isBinary
            ? bytes(of: program, library.binarySize, library.binary, "nvrtcGetCUBIN")
            : bytes(of: program, library.textSize, library.text, "nvrtcGetPTX")
    }

    private func architectures() throws(CUDAError) -> [Int] {
        var count: CInt = 0
        try unsafe library.check(library.architectureCount(&count), "nvrtcGetNumSupportedArchs")
        var architectures = [CInt](repeating: 0, count: Int(count))
        try unsafe library.check(library.architectures(&architectures), "nvrtcGetSupportedArchs")
        return architectures.map { Int($0) }.sorted()
    }

    private func bytes(
        of program: Driver.Handle,
        _ size: Library.Size,
        _ read: Library.Read,
        _ call: String
    ) throws(CUDAError) -> [UInt8] {
        var count = 0
        try unsafe library.check(size(program, &count), "\(call)Size")
        var bytes = [CChar](repeating: 0, count: count)
        try unsafe library.check(read(program, &bytes), call)
        return bytes.map { UInt8(bitPattern: $0) }
    }

    private func withTexts(
        _ texts: [String],
        _ body: (UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Driver.Status
    ) -> Driver.Status {
        func next(_ left: ArraySlice<String>, _ pointers: [UnsafePointer<CChar>?]) -> Driver.Status
        {
            guard let text = left.first else {
                var pointers = unsafe pointers
                return unsafe body(&pointers)
            }
            return unsafe text.withCString { unsafe next(left.dropFirst(), pointers + [$0]) }
        }
        return unsafe next(texts[...], [])
    }
}

/// The functions of NVRTC.
@safe private struct Library: Sendable {
    typealias Status = CInt
    typealias Size = @convention(c) (Driver.Handle, UnsafeMutablePointer<Int>) -> Status
    typealias Read = @convention(c) (Driver.Handle, UnsafeMutablePointer<CChar>) -> Status

    let version: @convention(c) (UnsafeMutablePointer<CInt>, UnsafeMutablePointer<CInt>) -> Status
    let architectureCount: @convention(c) (UnsafeMutablePointer<CInt>) -> Status
    let architectures: @convention(c) (UnsafeMutablePointer<CInt>) -> Status
    let create:
        @convention(c) (
            UnsafeMutablePointer<Driver.Handle>, UnsafePointer<CChar>, UnsafePointer<CChar>, CInt,
            UnsafeRawPointer?, UnsafeRawPointer?
        ) -> Status
    let destroy: @convention(c) (UnsafeMutablePointer<Driver.Handle>) -> Status
    let compile:
        @convention(c) (Driver.Handle, CInt, UnsafeMutablePointer<UnsafePointer<CChar>?>) -> Status
    let logSize: Size
    let log: Read
    let binarySize: Size
    let binary: Read
    let textSize: Size
    let text: Read
    let words: @convention(c) (Status) -> UnsafePointer<CChar>?

    init(_ library: DynamicLibrary) throws(CUDAError) {
        unsafe version = try library.function("nvrtcVersion")
        unsafe architectureCount = try library.function("nvrtcGetNumSupportedArchs")
        unsafe architectures = try library.function("nvrtcGetSupportedArchs")
        unsafe create = try library.function("nvrtcCreateProgram")
        unsafe destroy = try library.function("nvrtcDestroyProgram")
        unsafe compile = try library.function("nvrtcCompileProgram")
        unsafe logSize = try library.function("nvrtcGetProgramLogSize")
        unsafe log = try library.function("nvrtcGetProgramLog")
        unsafe binarySize = try library.function("nvrtcGetCUBINSize")
        unsafe binary = try library.function("nvrtcGetCUBIN")
        unsafe textSize = try library.function("nvrtcGetPTXSize")
        unsafe text = try library.function("nvrtcGetPTX")
        unsafe words = try library.function("nvrtcGetErrorString")
    }

    func check(_ status: Status, _ call: String) throws(CUDAError) {
        guard status != 0 else { return }
        let words = unsafe words(status).map { unsafe String(cString: $0) } ?? "error \(status)"
        throw .failed(call: call, name: words, words: "and compiled nothing")
    }
}
