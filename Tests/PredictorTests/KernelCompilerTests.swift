// SPDX-License-Identifier: Apache-2.0
import CUDA
import Foundation
import TestSupport
import Testing

@testable import Predictor

/// Kernels through the compiler that a machine with a GPU has.
struct KernelCompilerTests {
    private let folders: [String]

    init() throws {
        folders = [
            try #require(
                ProcessInfo.processInfo.environment["TEST_NVRTC"],
                "run the tests inside Tests/with-servers.sh"
            )
        ]
    }

    /// Turing, Ampere, Ada, Hopper and Blackwell.
    @Test(arguments: [75, 80, 86, 89, 90, 100, 120])
    func `every kernel compiles for every card from 2018 on`(_ capability: Int) throws {
        let compiler = try KernelCompiler(for: 12_090, folders: folders)
        let target = try compiler.target(for: capability)
        #expect(target.name == "sm_\(capability)")
        for (name, source, count) in [
            ("topk", PackageResources.topk_cu, 3), ("layers", DeviceLayers.source, 22),
        ] {
            let source = String(decoding: source, as: UTF8.self)
            let image = try compiler.compile(source, name: name, for: target)
            // A cubin is an ELF file, and names its kernels.
            #expect(image.prefix(4) == [0x7f, 0x45, 0x4c, 0x46])
            let text = String(decoding: image, as: UTF8.self)
            let kernels = Set(source.matches(of: /\b\w+_\w+(?=\()/).map { String($0.output) })
                .filter { $0.hasPrefix(name + "_") }
            #expect(kernels.count == count)
            for kernel in kernels { #expect(text.contains(kernel)) }
        }
    }

    @Test func `a card that is newer than the compiler gets what its driver translates`() throws {
        let compiler = try KernelCompiler(for: 12_090, folders: folders)
        let source = String(decoding: PackageResources.topk_cu, as: UTF8.self)
        let image = try compiler.compile(source, name: "topk", for: compiler.target(for: 999))
        let text = String(decoding: image, as: UTF8.self)
        #expect(text.contains(".target sm_") && text.contains(".entry topk_scan"))
        let old = #expect(throws: CUDAError.self) {
            try compiler.target(for: 30)
        }
        #expect(old?.description.contains("not for 30") == true)
    }

    @Test func `a kernel that is none is told with the compiler's words`() throws {
        let compiler = try KernelCompiler(for: 12_090, folders: folders)
        let error = #expect(throws: CUDAError.self) {
            try compiler.compile(
                "__global__ void k() { nothing; }",
                name: "k",
                for: compiler.target(for: 90)
            )
        }
        #expect(error?.description.contains("identifier \"nothing\" is undefined") == true)
    }
}
