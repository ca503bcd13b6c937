// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc
import Subprocess

/// A GPU that is none: the driver of Tests/CUDA, which runs the kernels on the CPU.
package enum EmulatedGPU {
    /// The folder that has it, as LARDER_CUDA would name it; compiled once in a process.
    package static func folder() async throws -> String { try await compiled.value.path }

    private static let compiled = Task { () throws -> TemporaryFolder in
        let folder = try TemporaryFolder()
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().path
        let result = try await Subprocess.run(
            .name("clang++"),
            arguments: [
                "-std=c++20", "-O2", "-march=native", "-ffp-contract=off", "-fPIC", "-shared",
                "-Wall",
                "-DTOPK_KERNELS=\"\(root)/Sources/Predictor/TopK/Device/topk.cu\"",
                "-DLAYERS_KERNELS=\"\(root)/Sources/Predictor/Layers/Device/layers.cu\"",
                "-DTRANSFORMER_KERNELS=\"\(root)/Sources/Predictor/Layers/Device/transformer.cu\"",
                "\(root)/Tests/CUDA/driver.cpp", "-o", "\(folder.path)/libcuda.so.1",
            ],
            output: .discarded,
            error: .string(limit: 1 << 16)
        )
        guard result.terminationStatus.isSuccess else {
            throw Failure(description: result.standardError)
        }
        for name in ["libnvrtc.so.12", "libcublas.so.12"] {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder.path)/\(name)",
                withDestinationPath: "libcuda.so.1"
            )
        }
        return folder
    }

    /// Bytes of devices from now on; nil: a GiB.
    package static func set(memory: Int?) { set("CUDA_EMULATED_MEMORY", memory.map { "\($0)" }) }

    /// What fails from now on, as Tests/CUDA/driver.cpp says; nil: nothing.
    package static func set(failure: String?) { set("CUDA_EMULATED_FAILURE", failure) }

    /// How many there are from now on; nil: one.
    package static func set(devices: Int?) { set("CUDA_EMULATED_DEVICES", devices.map { "\($0)" }) }

    private static func set(_ name: String, _ value: String?) {
        _ = unsafe value.map { unsafe setenv(name, $0, 1) } ?? unsetenv(name)
    }

    private struct Failure: Error, CustomStringConvertible { let description: String }
}
