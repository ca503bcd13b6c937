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
        let source = String(decoding: PackageResources.topk_cu, as: UTF8.self)
        let image = try compiler.compile(source, name: "topk", capability: capability)
        // A cubin is an ELF file, and names its kernels.
        #expect(image.prefix(4) == [0x7f, 0x45, 0x4c, 0x46])
        let text = String(decoding: image, as: UTF8.self)
        for kernel in ["topk_pack", "topk_scan", "topk_finish"] { #expect(text.contains(kernel)) }
    }

    @Test func `a card that is newer than the compiler gets what its driver translates`() throws {
        let compiler = try KernelCompiler(for: 12_090, folders: folders)
        let source = String(decoding: PackageResources.topk_cu, as: UTF8.self)
        let image = try compiler.compile(source, name: "topk", capability: 999)
        let text = String(decoding: image, as: UTF8.self)
        #expect(text.contains(".target sm_") && text.contains(".entry topk_scan"))
        let old = #expect(throws: CUDAError.self) {
            try compiler.compile(source, name: "topk", capability: 30)
        }
        #expect(old?.description.contains("not for 30") == true)
    }

    @Test func `what was compiled is kept, by what it was compiled from`() throws {
        let folder = try TemporaryFolder()
        let compiler = try KernelCompiler(
            for: 12_090,
            cache: folder.path + "/kernels",
            folders: folders
        )
        func compile(_ value: Int, isFresh: Bool = false) throws -> [UInt8] {
            try compiler.compile(
                "extern \"C\" __global__ void k(int* x) { *x = \(value); }",
                name: "k",
                capability: 90,
                isFresh: isFresh
            )
        }
        let first = try compile(1)
        #expect(try compile(1) == first)
        let files = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/kernels")
        #expect(files.count == 1)
        // Another source is another file; and what is there is what is used.
        #expect(try compile(2) != first)
        try Data([1, 2, 3]).write(to: URL(filePath: folder.path + "/kernels/" + files[0]))
        #expect(try compile(1) == [1, 2, 3])
        // Who cannot use it has it made anew.
        #expect(try compile(1, isFresh: true) == first)
        #expect(try compile(1) == first)
    }

    @Test func `a kernel that is none is told with the compiler's words`() throws {
        let compiler = try KernelCompiler(for: 12_090, folders: folders)
        let error = #expect(throws: CUDAError.self) {
            try compiler.compile("__global__ void k() { nothing; }", name: "k", capability: 90)
        }
        #expect(error?.description.contains("identifier \"nothing\" is undefined") == true)
    }
}
