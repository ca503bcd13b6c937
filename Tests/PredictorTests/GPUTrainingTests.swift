// SPDX-License-Identifier: Apache-2.0
import CUDA
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

extension GPUTests {
    /// Networks that learn on a GPU: on a driver that runs the very kernels on the CPU.
    struct Training {
        private let card: EmulatedCard
        private let dataset: Dataset

        init() async throws {
            card = try await EmulatedCard()
            dataset = try TwoTowerTests().dataset(split: .leaveLastOne(validation: true))
        }

        enum Variant: String, CaseIterable, CustomTestStringConvertible {
            case usual
            case merlin
            case everything
            case sgd
            case embeddings

            var testDescription: String { rawValue }

            var settings: TwoTowerSettings {
                var settings = self == .merlin ? TwoTowerSettings.merlin : TwoTowerSettings()
                settings.embedding = 8
                settings.towers = [12, 6]
                settings.optimiser.learningRate = 0.01
                settings.training.batch = 48
                settings.training.epochs = 34
                settings.training.patience = 0
                switch self {
                case .usual: break
                case .merlin: settings.optimiser.learningRate = 0.1
                case .everything:
                    settings.dropout = 0.2
                    settings.masksAccidentalHits = false
                    settings.sampledNegatives = 7
                    settings.queue = 30
                    settings.optimiser.kind = .adagrad
                    settings.optimiser.schedule = .cosine
                    settings.optimiser.clip = 0.5
                case .sgd:
                    settings.optimiser.kind = .sgd
                    settings.optimiser.learningRate = 0.1
                    // One piece of what a code of a feature gets is not enough.
                    settings.training.batch = 160
                    settings.training.epochs = 100
                case .embeddings:
                    settings.towers = []
                    settings.optimiser.weightDecay = 0.01
                }
                return settings
            }
        }

        private struct Course {
            var losses: [Double] = []
            var model: RetrievalModel?
            var device: String?
        }

        private func train(
            _ settings: TwoTowerSettings,
            on gpu: GPU?,
            of dataset: Dataset? = nil,
            from state: String? = nil,
            each: (TrainingProgress) throws -> Void = { _ in }
        ) throws -> Course {
            var course = Course()
            let trained = try TwoTower.train(
                dataset ?? self.dataset,
                on: .forTraining,
                settings,
                from: state,
                gpu: gpu
            ) { progress in
                course.losses.append(progress.loss)
                try each(progress)
            }
            course.model = trained.model
            course.device = trained.outcome.device
            return course
        }

        private static func sum(_ losses: ArraySlice<Double>) -> Double { losses.reduce(0, +) }

        private static func distance(_ a: Matrix, _ b: Matrix) -> Float {
            zip(a.values, b.values).map { abs($0 - $1) }.max() ?? .infinity
        }

        /// Without features: towers without layers have vectors of one width then.
        static func idsAlone() throws -> Dataset {
            let folder = try TemporaryFolder()
            return try Checkerboard.settings(
                folder.write(Checkerboard.csv(), to: "events.csv"),
                split: .leaveLastOne(validation: true)
            ).built().dataset
        }

        @Test(arguments: Variant.allCases)
        func `a hundred steps have the losses of the processor`(_ variant: Variant) throws {
            let settings = variant.settings
            let dataset = try variant == .embeddings ? Self.idsAlone() : self.dataset
            let reports = GPUReports()
            let expected = try train(settings, on: nil, of: dataset)
            let found = try train(settings, on: card.gpu(reports), of: dataset)
            #expect(expected.device == nil && found.device == "no GPU")
            #expect(reports.all.isEmpty)
            #expect(found.losses.count >= 100 && found.losses.count == expected.losses.count)
            for (step, (a, b)) in zip(found.losses, expected.losses).enumerated().prefix(100) {
                #expect(abs(a - b) < 1e-3, "step \(step)")
            }
            let first = Self.sum(expected.losses.prefix(10))
            let last = Self.sum(expected.losses.suffix(10))
            #expect(last < 0.99 * first)
            let (a, b) = try (#require(found.model), #require(expected.model))
            #expect(a.items == b.items)
            #expect(Self.distance(a.vectors, b.vectors) < 0.02)
        }

        /// Their batches, dropout, clipping, and entities that are in a batch more often than a thread adds up.
        enum RatingVariant: String, CaseIterable, CustomTestStringConvertible {
            case labels
            case negatives

            var testDescription: String { rawValue }

            var settings: RatingMLPSettings {
                var settings = RatingMLPTests().settings
                if self == .negatives {
                    settings.label = nil
                    settings.negatives = 7
                    settings.dropout = 0.2
                    settings.layers = [10]
                    settings.optimiser.kind = .adagrad
                    settings.optimiser.clip = 0.1
                    settings.training.batch = 640
                    settings.training.epochs = 120
                }
                return settings
            }
        }

        @Test(arguments: RatingVariant.allCases)
        func `a rating network has the losses of the processor`(_ variant: RatingVariant) throws {
            let dataset = try RatingMLPTests().dataset()
            func losses(on gpu: GPU?) throws -> (losses: [Double], outcome: TrainingOutcome) {
                var losses: [Double] = []
                let trained = try RatingMLP.train(
                    dataset,
                    on: .forTraining,
                    variant.settings,
                    gpu: gpu
                ) { losses.append($0.loss) }
                return (losses, trained.outcome)
            }
            let reports = GPUReports()
            let (expected, processor) = try losses(on: nil)
            let (found, device) = try losses(on: card.gpu(reports))
            #expect(reports.all.isEmpty)
            #expect(processor.device == nil && device.device == "no GPU")
            #expect(found.count >= 100 && found.count == expected.count)
            for (step, (a, b)) in zip(found, expected).enumerated().prefix(100) {
                #expect(abs(a - b) < 1e-3, "step \(step)")
            }
            #expect(try #require(expected.last) < 0.9 * expected[0])
            let (a, b) = try (#require(processor.validation), #require(device.validation))
            #expect(abs(a - b) < 0.01)
        }

        /// Wherever there is one, with what it takes; elsewhere what is missing is told, and how to do without.
        @Test func `a real GPU computes what a processor does`() throws {
            let reports = GPUReports()
            let gpu: GPU
            do {
                gpu = try GPU { reports.add($0) }
                try gpu.prepare()
            } catch let error as CUDAError {
                let isMissing =
                    switch error {
                    case .absent, .unavailable: true
                    default: false
                    }
                #expect(isMissing && error.description.contains("hint: "), "\(error)")
                return
            }
            for kind in RecommenderContract.Kind.allCases {
                try RecommenderContract().offersOwnColour(kind, on: gpu)
            }
            // Without cuBLAS networks are the processor's.
            #expect(!reports.all.contains { !$0.isOfProducts })
        }

        @Test(arguments: RecommenderContract.Kind.allCases)
        func `everyone is offered items of the own colour`(
            _ kind: RecommenderContract.Kind
        ) throws {
            let reports = GPUReports()
            try RecommenderContract().offersOwnColour(kind, on: card.gpu(reports))
            #expect(reports.all.isEmpty)
        }

        @Test(arguments: [1, 7, 40, 1000])
        func `a softmax in parts is the one of the processor`(_ queriesAtATime: Int) throws {
            var generator = SeededGenerator(seed: 5)
            func random(_ rows: Int) -> RowBuffer {
                let buffer = RowBuffer(rows: rows, columns: 6)
                buffer.fill { generator.normalFloat() }
                return buffer
            }
            // Of the candidates the last ten are of earlier batches, and are not moved.
            let (q, c, moved) = (random(90), random(33), 23)
            var targets = ContrastiveLoss.Targets()
            targets.bias = (0..<c.rows).map { Float($0) * 0.1 }
            targets.target = (0..<q.rows).map { Int32($0 % moved) }
            targets.targetBias = (0..<q.rows).map { Float($0 % 7) * 0.2 }
            for query in 0..<Int32(q.rows) where query % 3 > 0 {
                let candidate = 23 + query % 10
                targets.copies.append(.init(query: query, candidate: candidate))
            }
            let (dq, dc) = (RowBuffer(columns: 6), RowBuffer(columns: 6))
            let expected = ContrastiveLoss(columns: 6, temperature: 0.3, threads: 1)
                .run(q, c, targets, dq: dq, dc: dc, rowsOfC: moved)
            let gpu = try card.gpu()
            try gpu.device.use {
                let layers = try DeviceLayers(gpu)
                let loss = try DeviceContrastiveLoss(
                    temperature: 0.3,
                    layers,
                    block: queriesAtATime * c.rows
                )
                let own = try (layers.matrix(columns: 6), layers.matrix(columns: 6))
                // The second batch finds the room of the first.
                for _ in 0..<2 {
                    layers.batch.begin()
                    loss.stage(targets)
                    try layers.batch.send()
                    try loss.run(
                        DeviceMatrix(q, on: layers.device),
                        DeviceMatrix(c, on: layers.device),
                        dq: own.0,
                        dc: own.1,
                        rowsOfC: moved
                    )
                    #expect(abs(try loss.loss() - expected) < 1e-5)
                    for (a, b) in try [
                        (own.0.values(), dq.values), (own.1.values(), dc.values),
                    ] {
                        #expect(a.count == b.count)
                        #expect(zip(a, b).allSatisfy { abs($0 - $1) < 1e-6 })
                    }
                }
            }
        }

        @Test func `the same training makes the same bits, from a state too`() throws {
            let settings = Variant.everything.settings
            let whole = try train(settings, on: card.gpu())
            let again = try train(settings, on: card.gpu())
            #expect(whole.losses == again.losses)
            #expect(whole.model?.vectors == again.model?.vectors)
            let folder = try TemporaryFolder()
            struct Stopped: Error {}
            #expect(throws: Stopped.self) {
                try train(settings, on: card.gpu()) { progress in
                    // In the middle of an epoch: the next step has been prepared.
                    guard progress.step == 22 else { return }
                    try progress.writeState(to: folder.path)
                    throw Stopped()
                }
            }
            let resumed = try train(settings, on: card.gpu(), from: folder.path)
            #expect(resumed.losses == Array(whole.losses.dropFirst(22)))
            #expect(resumed.model?.vectors == whole.model?.vectors)
            // A state of a device is one that a processor goes on from.
            let elsewhere = try train(settings, on: nil, from: folder.path)
            #expect(elsewhere.losses.count == resumed.losses.count)
            for (a, b) in zip(elsewhere.losses, resumed.losses) { #expect(abs(a - b) < 1e-3) }
        }

        @Test(arguments: ["cuMemAlloc:1:2", "cuMemAlloc:60:2", "cublasCreate:1:3"])
        func `without room the processor learns, and says why`(_ failure: String) throws {
            let settings = Variant.usual.settings
            let expected = try train(settings, on: nil)
            let reports = GPUReports()
            let gpu = try card.gpu(reports)
            EmulatedGPU.set(failure: failure)
            let found = try train(settings, on: gpu)
            #expect(found.losses == expected.losses)
            #expect(found.model?.vectors == expected.model?.vectors)
            #expect(reports.all.map(\.isOfRoom) == [true])
            #expect(gpu.isUsable)
        }

        /// With a queue its vectors have to come back too.
        @Test(arguments: [true, false])
        func `where room runs out on the way, the processor goes on from there`(
            _ hasQueue: Bool
        ) throws {
            var settings = Variant.everything.settings
            if !hasQueue { settings.queue = 0 }
            settings.training.validateEvery = 1000
            let expected = try train(settings, on: nil)
            let reports = GPUReports()
            let gpu = try card.gpu(reports)
            var steps = 0
            var devices: [String?] = []
            let found = try train(settings, on: gpu) { progress in
                steps = progress.step
                devices.append(progress.device)
                // Nothing more can be had from now on, and batches grow.
                if progress.step == 1 { EmulatedGPU.set(failure: "cuMemAlloc:1:2") }
            }
            #expect(steps == expected.losses.count)
            #expect(devices.first == "no GPU" && devices.last == .some(nil))
            #expect(found.device == "no GPU", "it began there")
            #expect(reports.all.map(\.isOfRoom) == [true])
            for (a, b) in zip(found.losses, expected.losses) { #expect(abs(a - b) < 1e-3) }
        }

        @Test func `memory that cannot be pinned takes longer, and nothing else`() throws {
            let settings = Variant.usual.settings
            let pinned = try train(settings, on: card.gpu())
            EmulatedGPU.set(failure: "cuMemHostRegister:1:2")
            #expect(try train(settings, on: card.gpu()).losses == pinned.losses)
        }

        @Test(arguments: [
            "cuLaunchKernel:300:719", "cublasSgemm:200:13", "cuMemcpyDtoH:5:719",
            "cuMemcpyHtoD:40:719",
        ])
        func `a device that is lost ends the training, and the next is on the processor`(
            _ failure: String
        ) throws {
            let settings = Variant.usual.settings
            let reports = GPUReports()
            let gpu = try card.gpu(reports)
            EmulatedGPU.set(failure: failure)
            let error = #expect(throws: CUDAError.self) { try train(settings, on: gpu) }
            #expect(error?.isOfRoom == false)
            // The first may have been told where the validation part was ranked.
            #expect(reports.all.last == error)
            // Lists need no cuBLAS.
            #expect(!gpu.trains && gpu.isUsable == failure.hasPrefix("cublas"))
            #expect(try train(settings, on: gpu).losses == train(settings, on: nil).losses)
        }

        @Test func `a step that a device has begun is not begun again by the processor`() throws {
            var settings = Variant.everything.settings
            settings.queue = 0
            let gpu = try card.gpu()
            // Of a step the first is how long the gradients are, when the next one lies ready.
            EmulatedGPU.set(failure: "cuMemcpyDtoH:5:2")
            let error = #expect(throws: CUDAError.self) { try train(settings, on: gpu) }
            #expect(error?.isOfRoom == true && gpu.trains)
        }

        @Test func `without cuBLAS the processor learns, and is told what is missing`() throws {
            let bare = try TemporaryFolder()
            for name in ["libcuda.so.1", "libnvrtc.so.12"] {
                try FileManager.default.createSymbolicLink(
                    atPath: "\(bare.path)/\(name)",
                    withDestinationPath: "\(card.folder)/libcuda.so.1"
                )
            }
            let reports = GPUReports()
            let gpu = try GPU(folders: [bare.path]) { reports.add($0) }
            let settings = Variant.usual.settings
            #expect(try train(settings, on: gpu).losses == train(settings, on: nil).losses)
            let words = try #require(reports.all.first).description
            #expect(words.contains("no cuBLAS") && words.contains("LARDER_CUDA"))
            // Lists are made on it as before.
            #expect(gpu.isUsable)
        }

        @Test func `a training that diverges on a device says so`() throws {
            var settings = Variant.sgd.settings
            settings.normalise = false
            settings.optimiser.learningRate = 1e30
            settings.training.validateEvery = 1
            let error = #expect(throws: PredictorError.self) { try train(settings, on: card.gpu()) }
            #expect("\(try #require(error))".contains("diverged"))
        }
    }
}
