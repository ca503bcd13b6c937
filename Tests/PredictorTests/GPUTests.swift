// SPDX-License-Identifier: Apache-2.0
import CUDA
import Synchronization
import TestSupport
import Testing

@testable import Predictor

/// What runs on a GPU, one after the other: tests say what fails on the one there is.
@Suite(.serialized) enum GPUTests {}

/// What a GPU told that was computed elsewhere after all.
final class GPUReports: Sendable {
    private let errors = Mutex<[CUDAError]>([])
    func add(_ error: CUDAError) { errors.withLock { $0.append(error) } }
    var all: [CUDAError] { errors.withLock { $0 } }
}

/// A driver that runs kernels on the CPU, of which nothing fails yet.
struct EmulatedCard {
    let folder: String

    init() async throws {
        folder = try await EmulatedGPU.folder()
        EmulatedGPU.set(memory: nil)
        EmulatedGPU.set(failure: nil)
    }

    func gpu(_ reports: GPUReports = GPUReports()) throws -> GPU {
        try GPU(folders: [folder]) { reports.add($0) }
    }
}
