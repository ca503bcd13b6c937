// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import CacheWriter
import Foundation
import Jobs
import Logging
import Predictor
import Tables

struct ReproduceCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reproduce",
        abstract: "Train a release's model again, and compare it and its lists bit for bit.",
        discussion: """
            From the dataset and the settings of the run that made it; nothing is published. Exit 1 \
            if anything is otherwise.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The release. Default: the live one.") var release: Int?
    @Option(help: "Where it is trained: cpu, auto, or cuda:N.") var device = DeviceOption.cpu
    @OptionGroup var stores: StoreOptions

    private struct Answer: Encodable {
        let feed: String
        let release: Int
        let model: String
        let again: String
        let isSameModel: Bool
        /// Of those that the run read back, and how many of them are the same bytes.
        let lists: Int
        let sameLists: Int
        let threads: Int
        /// What trained, then and now: GPUs, or a processor.
        let trainedOn: String
        let againOn: String
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            var services = services
            services.gpu = try device.gpu(
                home: stores.homeFolder(),
                WorkerOptions.LogFormat.text.logger(.warning)
            )
            let released = try await services.released(feed, release)
            let answer = try await again(released, services)
            if stores.json {
                try Output.json(answer)
            } else {
                show(answer, released)
            }
            if !answer.isSameModel || answer.sameLists < answer.lists {
                throw ExitCode(ExitStatus.failed.rawValue)
            }
        }
    }

    private func again(_ released: Released, _ services: Services) async throws -> Answer {
        let scratch = try ScratchFolder()
        defer { withExtendedLifetime(scratch) {} }
        let store = ArtifactStore(scratch.path)
        let job = Job(kind: "train", name: "reproduce", run: released.release.run)
        let input = try await StepInput(
            services,
            job: job,
            run: released.release.run,
            JobContext(job)
        )
        let step = TrainStep(input)
        var devices: [(then: String?, now: String?)] = []
        func train(_ stage: RunPlan.Stage, as about: TrainStep.About) throws -> Artifact {
            let (artifact, device) = try step.again(stage, as: about, into: store)
            let then = try released.results.find(stage.refitName, TrainResult.self)?.outcome
            devices.append((then?.device, device))
            return artifact
        }
        let artifact = try train(.retrieval, as: released.about)
        let rank = try released.pipeline.rank.map { rank in
            let original = try released.results.get(
                RunPlan.Stage.ranking.refitName,
                TrainResult.self
            ).model
            let about = try services.artifacts.get(kind: "model", original)
                .manifest(TrainStep.About.self)
            return RankStage(
                try RatingModel(from: train(.ranking, as: about).folder),
                candidates: rank.candidates
            )
        }
        let maker = try released.maker(
            RecommenderFile.read(
                kind: released.about.settings.kind,
                from: artifact.folder,
                released.dataset
            ),
            rank
        )
        let samples = try samples(released)
        let lists = try maker.lists(samples.map(\.index))
        let same = zip(samples, lists).count { Fingerprint(maker.encode($1)) == $0.fingerprint }
        return Answer(
            feed: feed,
            release: released.release.number,
            model: released.release.model,
            again: artifact.id,
            isSameModel: artifact.id == released.release.model,
            lists: samples.count,
            sameLists: same,
            threads: released.about.settings.threads,
            trainedOn: Self.words(devices.map(\.then)),
            againOn: Self.words(devices.map(\.now))
        )
    }

    private static func words(_ devices: [String?]) -> String {
        Set(devices.map { $0 ?? "a processor" }).sorted().joined(separator: " and ")
    }

    /// The lists that the run read back before it published.
    private func samples(_ released: Released) throws -> [ShardResult.Sample] {
        let plan = try released.results.get("predict", PredictResult.self)
        return try (1...plan.shards).flatMap { number in
            try released.results.get("predict \(number)/\(plan.shards)", ShardResult.self).samples
        }
    }

    private func show(_ answer: Answer, _ released: Released) {
        print(
            """
            release \(answer.release) of "\(feed)": \(released.about.settings.kind) \(answer.model.prefix(12)), of dataset \
            \(released.about.dataset.prefix(12)) by run \(released.release.run)
            """
        )
        print(
            answer.isSameModel
                ? "trained again, the model is the same, bit for bit"
                : "trained again, the model is another: \(answer.again.prefix(12))"
        )
        print("\(answer.sameLists) of \(answer.lists) lists are the same, byte for byte")
        guard !answer.isSameModel || answer.sameLists < answer.lists else { return }
        if answer.trainedOn != answer.againOn {
            return print(
                "it was trained on \(answer.trainedOn), again on \(answer.againOn); --device says where"
            )
        }
        print(
            answer.threads > 1 && answer.trainedOn == Self.words([nil])
                ? "it was trained by \(answer.threads) threads, whose order is never the same twice"
                : "another processor, or another version of larder, may round otherwise"
        )
    }
}

extension Pipeline.Model {
    /// That it is trained by.
    var threads: Int {
        switch self {
        case .popularity, .lists: 1
        case .prod2vec(let settings): settings.threads
        case .als(let settings): settings.threads
        case .itemKNN(let settings): settings.threads
        case .twoTower(let settings): settings.threads
        case .sessionTransformer(let settings): settings.threads
        case .ratingMLP(let settings): settings.threads
        }
    }
}
