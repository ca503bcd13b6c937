// SPDX-License-Identifier: Apache-2.0
import CUDA
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

extension GPUTests {
    /// Session transformers that learn on a GPU: on a driver that runs the very kernels on the CPU.
    struct SessionTraining {
        private let card: EmulatedCard

        init() async throws { card = try await EmulatedCard() }

        private func sum(_ losses: ArraySlice<Double>) -> Double { losses.reduce(0, +) }

        /// Sessions of items, a category and a number, and of items alone.
        enum SessionVariant: String, CaseIterable, CustomTestStringConvertible {
            case causal
            case masked
            case maskedItems
            case sampled
            case transformers4Rec
            case windows

            var testDescription: String { rawValue }

            var settings: SessionTransformerSettings {
                var settings = Sessions.small(self == .causal || self == .sampled ? .causal : .mlm)
                switch self {
                case .causal: settings.dropout = 0.2
                case .masked:
                    settings.optimiser.kind = .adagrad
                    settings.optimiser.learningRate = 0.1
                case .maskedItems: settings.optimiser.weightDecay = 0.01
                case .sampled:
                    settings.sampledNegatives = 6
                    settings.optimiser.clip = 0.5
                case .transformers4Rec:
                    settings = .transformers4Rec
                    settings.width = 8
                    settings.heads = 2
                    settings.inner = 12
                    settings.length = 9
                    settings.training.batch = 7
                    settings.optimiser.learningRate = 0.005
                case .windows:
                    settings = SessionWindowTests().daily
                    settings.training.epochs = 13
                }
                if self != .windows { settings.training.epochs = 25 }
                return settings
            }
        }

        @Test(arguments: SessionVariant.allCases)
        func `a session transformer has the losses of the processor`(
            _ variant: SessionVariant
        ) throws {
            let dataset =
                switch variant {
                case .windows: try SessionWindowTests().days()
                case .maskedItems: try GPUTests.Training.idsAlone()
                default: try Sessions.dataset()
                }
            func train(on gpu: GPU?) throws -> (losses: [Double], SessionModel, TrainingOutcome) {
                var losses: [Double] = []
                let trained = try SessionTransformer.train(
                    dataset,
                    on: .all,
                    variant.settings,
                    gpu: gpu
                ) { losses.append($0.loss) }
                return (losses, trained.model, trained.outcome)
            }
            let reports = GPUReports()
            let (expected, model, processor) = try train(on: nil)
            let (found, deviceModel, device) = try train(on: card.gpu(reports))
            #expect(reports.all.isEmpty)
            #expect(processor.device == nil && device.device == "no GPU")
            #expect(found.count >= 100 && found.count == expected.count)
            for (step, (a, b)) in zip(found, expected).enumerated().prefix(100) {
                #expect(abs(a - b) < 1e-3, "step \(step)")
            }
            let (first, last) = (sum(expected.prefix(9)), sum(expected.suffix(9)))
            #expect(last < 0.99 * first)
            let histories: [[Int32]] = [[3], [1, 2, 3], [5, 5]]
            for (a, b) in zip(
                try Sessions.lists(model, histories),
                try Sessions.lists(deviceModel, histories)
            ) {
                #expect(zip(a?.scores ?? [], b?.scores ?? []).allSatisfy { abs($0 - $1) < 0.02 })
                #expect(a?.scores.count == 5 && b?.scores.count == 5)
            }
        }

        @Test(arguments: [1, 3000, 20_000])
        func `attention to some sequences at a time is that to all`(_ block: Int) throws {
            let gpu = try card.gpu()
            try gpu.device.use {
                for isCausal in [false, true] {
                    try LayerCheck(DeviceLayers(gpu)).checkTransformer(
                        isCausal: isCausal,
                        block: block
                    )
                }
            }
        }

        @Test func `sessions are learned with the same bits again, from a state too`() throws {
            let dataset = try Sessions.dataset()
            var settings = SessionVariant.masked.settings
            settings.training.epochs = 8
            // In the middle of epochs, when the next step has been prepared.
            settings.training.validateEvery = 3
            settings.training.patience = 0
            let folder = try TemporaryFolder()
            func train(from state: String? = nil) throws -> ([Double], [Float]) {
                var losses: [Double] = []
                let trained = try SessionTransformer.train(
                    dataset,
                    on: .all,
                    settings,
                    from: state,
                    gpu: card.gpu()
                ) { progress in
                    losses.append(progress.loss)
                    if progress.step == 21 { try progress.writeState(to: folder.path) }
                }
                let list = try Sessions.lists(trained.model, [[1, 2, 3]])
                return (losses, try #require(list[0]).scores)
            }
            let (whole, again) = try (train(), train())
            #expect(whole == again && whole.0.count == 32)
            let resumed = try train(from: folder.path)
            #expect(resumed.0 == Array(whole.0.dropFirst(21)) && resumed.1 == whole.1)
        }

        @Test func `sessions go on on the processor where room runs out on the way`() throws {
            let dataset = try Sessions.dataset()
            func train(on gpu: GPU?) throws -> [(loss: Double, device: String?)] {
                var steps: [(Double, String?)] = []
                _ = try SessionTransformer.train(
                    dataset,
                    on: .all,
                    SessionVariant.masked.settings,
                    gpu: gpu
                ) { progress in
                    steps.append((progress.loss, progress.device))
                    if gpu != nil, progress.step == 1 { EmulatedGPU.set(failure: "cuMemAlloc:1:2") }
                }
                return steps
            }
            let expected = try train(on: nil)
            let reports = GPUReports()
            let found = try train(on: card.gpu(reports))
            #expect(found.first?.device == "no GPU" && found.last?.device == .some(nil))
            #expect(reports.all.map(\.isOfRoom) == [true])
            #expect(zip(found, expected).allSatisfy { abs($0.loss - $1.loss) < 1e-3 })
            #expect(found.count == expected.count)
        }

        @Test func `two trainings at a time do not disturb each other`() throws {
            let dataset = try Sessions.dataset()
            let gpu = try card.gpu()
            func train(_ width: Int, each: () throws -> Void = {}) throws -> [Double] {
                var settings = Sessions.small(.causal)
                settings.width = width
                var losses: [Double] = []
                _ = try SessionTransformer.train(dataset, on: .all, settings, gpu: gpu) {
                    progress in
                    losses.append(progress.loss)
                    try each()
                }
                return losses
            }
            let alone = try train(24)
            var isFirst = true
            let disturbed = try train(24) {
                guard isFirst else { return }
                isFirst = false
                _ = try train(8)
            }
            #expect(disturbed == alone && alone.count == 16)
        }
    }
}
