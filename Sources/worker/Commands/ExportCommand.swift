// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs
import Predictor
import Tables

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the item vectors of a feed's live release as a word2vec text file.",
        discussion: """
            gensim reads it: KeyedVectors.load_word2vec_format(FILE). Those of prod2vec have length one.
            """
    )

    @Argument(help: "The feed.") var feed: String
    @Argument(help: "The file to write.", completion: .file()) var file: String
    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices { services, _ in
            let live = try await services.released(feed)
            guard let model = live.model as? RetrievalModel else {
                throw SettingsError(
                    "the model of feed \"\(feed)\", \(live.model.kind), has no vectors"
                )
            }
            try WordVectors.write(model, ids: live.dataset.items, to: file)
            if stores.json { return try Output.json(["vectors": model.items.count]) }
            print("\(Output.count(model.items.count)) vectors written to \(file)")
        }
    }
}
