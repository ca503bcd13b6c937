// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

/// Workers with a GPU, which is one of `EmulatedGPU`.
@Suite(.timeLimit(Effort.limit)) struct GPUWorkerTests {
    private let files: CommandFeed
    private let feed = TestServers.uniqueFeed()

    init() throws { files = try CommandFeed() }

    /// Every list that a worker with this device makes, and what it said.
    private func lists(
        _ device: String,
        model: String = "{ kind: als, factors: 8 }",
        failure: String? = nil
    ) async throws -> (lists: String, log: String) {
        var answer = ("", "")
        let folder = try await EmulatedGPU.folder()
        try await files.with { larder in
            var larder = larder
            larder.cuda = folder
            larder.cudaFailure = failure
            larder.log = files.folder.path + "/\(UUID().uuidString).log"
            let worker = try await larder.start("worker", "--device", device)
            defer { worker.kill() }
            let file = try files.pipeline(feed: feed, model: model)
            let result = try await larder.run("run", file, "--force", "all", "--follow")
            try #require(result.status == 0, "\(result)")
            let lists = files.folder.path + "/lists.csv"
            let exported = try await larder.run("export", feed, lists, "--format", "csv")
            try #require(exported.status == 0, "\(exported)")
            answer = (
                try String(contentsOfFile: lists, encoding: .utf8),
                try String(contentsOfFile: larder.log ?? "", encoding: .utf8)
            )
        }
        return answer
    }

    @Test(arguments: [
        "{ kind: als, factors: 8 }",
        "{ kind: prod2vec, vector-size: 16, epochs: 2 }",
    ])
    func `a GPU makes the lists that a processor makes`(_ model: String) async throws {
        let (expected, silent) = try await lists("cpu", model: model)
        let (found, told) = try await lists("cuda:0", model: model)
        #expect(found == expected && found.count > 100)
        #expect(told.contains("computing on cuda:0, no GPU, 1.0 GiB"), "\(told)")
        #expect(!silent.contains("computing on") && !told.contains("the processor"))
    }

    @Test(arguments: ["cuCtxSynchronize:9:719", "cuMemAlloc:960:2"])
    func `what a GPU fails at is done by a processor, and told`(_ failure: String) async throws {
        let (expected, _) = try await lists("cpu")
        let (found, told) = try await lists("cuda:0", failure: failure)
        #expect(found == expected)
        #expect(told.contains("work goes to the processor: the GPU"), "\(told)")
    }

    @Test(arguments: [
        "{ kind: two-tower, towers: [16, 8], embedding: 8, epochs: 2, batch: 128 }",
        "{ kind: session-transformer, width: 16, epochs: 2 }",
    ])
    func `a GPU trains, and trains the same again`(_ model: String) async throws {
        let folder = try await EmulatedGPU.folder()
        try await files.with { larder in
            var larder = larder
            larder.cuda = folder
            let worker = try await larder.start("worker", "--device", "auto")
            defer { worker.kill() }
            let file = try files.pipeline(feed: feed, model: model)
            let result = try await larder.run("run", file, "--force", "all", "--follow")
            try #require(result.status == 0, "\(result)")
            let again = try await larder.run("reproduce", feed, "--device", "cuda:0")
            #expect(again.status == 0 && again.output.contains("bit for bit"), "\(again)")
            let elsewhere = try await larder.run("reproduce", feed)
            #expect(elsewhere.status == 1, "\(elsewhere)")
            let words = "it was trained on no GPU, again on a processor; --device says where"
            #expect(elsewhere.output.contains(words), "\(elsewhere)")
        }
    }

    @Test func `a GPU that is lost in a training costs an attempt`() async throws {
        let folder = try await EmulatedGPU.folder()
        try await files.with { larder in
            var larder = larder
            larder.cuda = folder
            larder.cudaFailure = "cublasSgemm:900:13"
            larder.log = files.folder.path + "/lost.log"
            let worker = try await larder.start("worker", "--device", "cuda:0")
            defer { worker.kill() }
            let model = "{ kind: two-tower, towers: [16, 8], embedding: 8, epochs: 20, batch: 128 }"
            let file = try files.pipeline(feed: feed, model: model)
            let result = try await larder.run("run", file, "--force", "all", "--follow")
            #expect(result.status == 0, "\(result)")
            let told = try String(contentsOfFile: larder.log ?? "", encoding: .utf8)
            let failure = "cublasSgemm answered CUBLAS_STATUS_EXECUTION_FAILED"
            #expect(
                told.contains("networks are trained on the processor: the GPU failed: \(failure)")
            )
            #expect(told.contains("attempt=1") && told.contains("tried again"), "\(told)")
        }
    }

    @Test func `a device that is not there ends the worker, unless it may do without`()
        async throws
    {
        let folder = try await EmulatedGPU.folder()
        try await files.with { larder in
            var larder = larder
            let none = try await larder.run("worker", "--drain", "--device", "cuda:0")
            #expect(none.status == 64 && none.errors.contains("libcuda.so.1"), "\(none)")
            let without = try await larder.run("worker", "--drain", "--device", "auto")
            #expect(without.status == 0 && !without.errors.contains("CUDA"), "\(without)")
            larder.cuda = folder
            let other = try await larder.run("worker", "--drain", "--device", "cuda:7")
            #expect(other.status == 64 && other.errors.contains("no device cuda:7"), "\(other)")
            let wrong = try await larder.run("worker", "--drain", "--device", "gpu")
            #expect(wrong.status == 64 && wrong.errors.contains("cuda:0"), "\(wrong)")
            larder.cudaFailure = "cuModuleLoadData:1:200"
            let broken = try await larder.run("worker", "--drain", "--device", "cuda:0")
            #expect(broken.status == 64 && broken.errors.contains("cuModuleLoadData"), "\(broken)")
            let automatic = try await larder.run("worker", "--drain", "--device", "auto")
            #expect(automatic.status == 0, "\(automatic)")
            #expect(automatic.errors.contains("computing on the processor"), "\(automatic)")
            larder.cudaFailure = nil
            let bare = try TemporaryFolder()
            for name in ["libcuda.so.1", "libnvrtc.so.12"] {
                try FileManager.default.createSymbolicLink(
                    atPath: "\(bare.path)/\(name)",
                    withDestinationPath: "\(folder)/libcuda.so.1"
                )
            }
            larder.cuda = bare.path
            let listsOnly = try await larder.run("worker", "--drain", "--device", "cuda:0")
            #expect(listsOnly.status == 0, "\(listsOnly)")
            let missing = "networks are trained on the processor: there is no cuBLAS"
            #expect(listsOnly.errors.contains(missing), "\(listsOnly)")
            larder.cuda = folder
            larder.cudaIsWrong = true
            let liar = try await larder.run("worker", "--drain", "--device", "cuda:0")
            #expect(liar.status == 64 && liar.errors.contains("computes something else"), "\(liar)")
        }
    }
}
