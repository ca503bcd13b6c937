// SPDX-License-Identifier: Apache-2.0
package import Tables

/// The text format of Google's word2vec: a line with count and size, then a line for each word.
package enum WordVectors {
    /// Refuses ids with white space, which the format cannot hold.
    package static func write(
        _ model: RetrievalModel,
        ids: Vocabulary,
        to path: String
    ) throws(PredictorError) {
        let file = try OutputFile(path)
        var text = "\(model.vectors.rows) \(model.vectors.columns)\n"
        for (row, item) in model.items.enumerated() {
            let id = ids[Int(item)]
            guard !id.contains(where: \.isWhitespace) else {
                throw .input(
                    "the id \"\(id)\" has white space, which the word2vec format cannot hold",
                    hint: "read model.safetensors of the model artifact instead"
                )
            }
            text += id
            for value in model.vectors[row: row] { text += " \(value)" }
            text += "\n"
            if text.utf8.count > 1 << 20 {
                try file.write(Array(text.utf8))
                text = ""
            }
        }
        try file.write(Array(text.utf8))
        try file.sync()
    }
}
