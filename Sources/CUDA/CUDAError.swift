// SPDX-License-Identifier: Apache-2.0

/// What is wrong with a GPU or what drives it, in words for a person.
package enum CUDAError: Error, Equatable, CustomStringConvertible {
    /// There is no driver, or no device: most machines have none.
    case absent(String, hint: String)
    /// There is something, and it cannot be used: nothing was begun.
    case unavailable(String, hint: String)
    /// A call of the driver failed; `name`: as CUDA has it.
    case failed(call: String, name: String, words: String)
    case outOfMemory(wanted: Int, free: Int, of: Int)
    /// A kernel is not accepted by this version of the compiler.
    case uncompiled(kernel: String, log: String)
    /// A kernel does not compute what a processor computes.
    case wrong(kernel: String)

    package var description: String {
        switch self {
        case .absent(let what, let hint), .unavailable(let what, let hint):
            "\(what)\nhint: \(hint)"
        case .failed(let call, let name, let words):
            "the GPU failed: \(call) answered \(name), \(words)\(Self.cure(name).map { "\nhint: \($0)" } ?? "")"
        case .outOfMemory(let wanted, let free, let total):
            """
            the GPU has no room for \(Self.size(wanted)): \(Self.size(free)) of \(Self.size(total)) are free
            hint: do other programs use it? `nvidia-smi` lists them
            """
        case .wrong(let kernel):
            """
            the kernel \(kernel) computes something else on this GPU than a processor does
            hint: does a newer driver help? until then leave the GPU out: --device cpu
            """
        case .uncompiled(let kernel, let log): "the kernel \(kernel) could not be compiled: \(log)"
        }
    }

    /// Whether the device can do nothing more for this process.
    package var isOfDevice: Bool {
        if case .failed(let call, _, _) = self {
            !isOfRoom && !call.hasPrefix("cublas")
        } else {
            false
        }
    }

    /// Whether the device can do all but matrix products: cuBLAS is missing, or fails.
    package var isOfProducts: Bool {
        switch self {
        case .absent, .unavailable: true
        case .failed(let call, _, _): !isOfRoom && call.hasPrefix("cublas")
        default: false
        }
    }

    /// Whether there may be room another time.
    package var isOfRoom: Bool {
        switch self {
        case .outOfMemory: true
        case .failed(_, let name, _):
            name == "CUDA_ERROR_OUT_OF_MEMORY" || name == "CUBLAS_STATUS_ALLOC_FAILED"
        default: false
        }
    }

    private static func size(_ bytes: Int) -> String {
        bytes >= 1 << 30 ? "\((bytes + 1 << 29) >> 30) GiB" : "\((bytes + 1 << 19) >> 20) MiB"
    }

    private static func cure(_ name: String) -> String? {
        switch name {
        case "CUDA_ERROR_NO_BINARY_FOR_GPU", "CUDA_ERROR_INVALID_IMAGE",
            "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
            "CUDA_ERROR_INVALID_PTX", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH":
            "the driver is older than the CUDA libraries; install a newer driver, or older libraries"
        case "CUDA_ERROR_DEVICE_UNAVAILABLE":
            "another program has the device for itself (nvidia-smi -c DEFAULT shares it)"
        case "CUDA_ERROR_ECC_UNCORRECTABLE", "CUDA_ERROR_HARDWARE_STACK_ERROR",
            "CUDA_ERROR_LAUNCH_FAILED", "CUDA_ERROR_ILLEGAL_ADDRESS",
            "CUDA_ERROR_DEVICE_NOT_LICENSED":
            "the device must be left alone until this program has ended; `dmesg` may say why"
        case "CUBLAS_STATUS_NOT_INITIALIZED":
            "is there room on the device (`nvidia-smi` tells), and is the driver as new as cuBLAS?"
        default: nil
        }
    }
}
