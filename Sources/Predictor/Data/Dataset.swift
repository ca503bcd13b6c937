// SPDX-License-Identifier: Apache-2.0

/// Events in the order that models read them: by user, each user's sequences by their first
/// event, each sequence by time.
package struct Dataset: Sendable {
    package let users: Vocabulary
    package let items: Vocabulary
    /// The item of each event, as an index into `items`.
    package let eventItems: [Int32]
    /// Seconds since 1970; zeros when the source has no time.
    package let eventTimes: [Int64]
    /// `Part.rawValue` of each event.
    package let eventParts: [UInt8]
    /// sequences + 1 entries; sequence s is the events from `[s]` up to `[s + 1]`.
    package let sequenceOffsets: [Int64]
    /// users + 1 entries; user u has the sequences from `[u]` up to `[u + 1]`.
    package let userSequences: [Int64]
    /// One per item, empty where unknown; nil when no item table was given.
    package let titles: StringTable?

    package var sequenceCount: Int { sequenceOffsets.count - 1 }

    package func events(ofSequence s: Int) -> Range<Int> {
        Int(sequenceOffsets[s])..<Int(sequenceOffsets[s + 1])
    }

    package func events(ofUser u: Int) -> Range<Int> {
        Int(
            sequenceOffsets[Int(userSequences[u])]
        )..<Int(sequenceOffsets[Int(userSequences[u + 1])])
    }

    package func title(_ item: Int) -> String? {
        guard let title = titles?[item], !title.isEmpty else { return nil }
        return title
    }

    /// How many events of each item are in the given parts.
    package func itemCounts(in parts: Set<Part>) -> [Int] {
        var counts = [Int](repeating: 0, count: items.count)
        let wanted = parts.map(\.rawValue)
        for (item, part) in zip(eventItems, eventParts) where wanted.contains(part) {
            counts[Int(item)] += 1
        }
        return counts
    }
}

extension Set<Part> {
    /// What a model may learn from while it is measured.
    package static var forTraining: Set<Part> { [.train] }
    /// What the model that is served learns from: everything.
    package static var all: Set<Part> { [.train, .validation, .test] }
}

// MARK: files

extension Dataset {
    /// Writes `events`, `users` and `items` as safetensors files into an existing folder.
    package func write(to folder: String) throws(PredictorError) {
        try SafeTensors.write(
            [
                "items": .int32(eventItems, shape: [eventItems.count]),
                "times": .int64(eventTimes, shape: [eventTimes.count]),
                "parts": .uint8(eventParts, shape: [eventParts.count]),
                "sequence_offsets": .int64(sequenceOffsets, shape: [sequenceOffsets.count]),
                "user_sequences": .int64(userSequences, shape: [userSequences.count]),
            ],
            to: folder + "/events.safetensors"
        )
        try SafeTensors.write(users.ids.tensors("id"), to: folder + "/users.safetensors")
        var itemTensors = items.ids.tensors("id")
        if let titles { itemTensors.merge(titles.tensors("title")) { $1 } }
        try SafeTensors.write(itemTensors, to: folder + "/items.safetensors")
    }

    package init(from folder: String) throws(PredictorError) {
        let events = try TensorFile(folder + "/events.safetensors")
        eventItems = try events.int32("items")
        eventTimes = try events.int64("times")
        eventParts = try events.uint8("parts")
        sequenceOffsets = try events.int64("sequence_offsets")
        userSequences = try events.int64("user_sequences")
        users = try Self.readUsers(from: folder)
        let itemFile = try TensorFile(folder + "/items.safetensors")
        items = Vocabulary(try StringTable("id", in: itemFile))
        titles = itemFile.has("title_offsets") ? try StringTable("title", in: itemFile) : nil
    }

    /// Only the ids, for those who need no events.
    package static func readUsers(from folder: String) throws(PredictorError) -> Vocabulary {
        Vocabulary(try StringTable("id", in: TensorFile(folder + "/users.safetensors")))
    }

    package static func readItems(from folder: String) throws(PredictorError) -> Vocabulary {
        Vocabulary(try StringTable("id", in: TensorFile(folder + "/items.safetensors")))
    }
}

extension StringTable {
    fileprivate func tensors(_ name: String) -> [String: Tensor] {
        [
            "\(name)_bytes": .uint8(bytes, shape: [bytes.count]),
            "\(name)_offsets": .int64(offsets, shape: [offsets.count]),
        ]
    }

    fileprivate init(_ name: String, in file: borrowing TensorFile) throws(PredictorError) {
        self.init(
            bytes: try file.uint8("\(name)_bytes"),
            offsets: try file.int64("\(name)_offsets")
        )
    }
}
