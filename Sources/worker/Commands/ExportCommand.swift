// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import Jobs
import Predictor

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the item vectors of a feed's live release as a word2vec text file.",
        discussion: """
            gensim reads it: KeyedVectors.load_word2vec_format(FILE). Vectors have length one.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The file to write.", completion: .file()) var file: String
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            guard
                let release = try await services.releases.list(feed: feed, limit: 10_000)
                    .first(where: { $0.state == "live" })
            else { throw SettingsError("feed \"\(feed)\" has no live release") }
            let artifact = try services.artifacts.get(kind: "model", release.model)
            let about = try artifact.manifest(TrainStep.About.self)
            let items = try Dataset.readItems(
                from: services.artifacts.get(kind: "dataset", about.dataset).folder
            )
            let model = try RetrievalModel(
                kind: about.settings.kind,
                from: artifact.folder,
                itemCount: items.count
            )
            try WordVectors.write(model, ids: items, to: file)
            if stores.json { return try Output.json(["vectors": model.items.count]) }
            print("\(Output.count(model.items.count)) vectors written to \(file)")
        }
    }
}
