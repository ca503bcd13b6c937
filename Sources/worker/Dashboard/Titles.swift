// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Executors
import Predictor
import Tables

/// What items are called, by the datasets that are on this machine.
///
/// None is fetched from a bucket for a page, and of the last few the titles stay in memory.
actor Titles {
    typealias Names = [String: String]

    private let artifacts: ArtifactStore
    private let executor = SerialQueueExecutor(label: "larder.titles")
    private var kept: [(dataset: String, items: Vocabulary, titles: StringTable)] = []
    private static let most = 4

    init(_ artifacts: ArtifactStore) { self.artifacts = artifacts }

    // Files are read here, which must hold up nobody else.
    nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// Those of some items that a dataset has a title for; none where it is elsewhere.
    func of(_ items: [String], in dataset: String) throws -> Names {
        if !kept.contains(where: { $0.dataset == dataset }) {
            guard let folder = artifacts.local(kind: "dataset", dataset)?.folder,
                let titles = try Dataset.readTitles(from: folder)
            else { return [:] }
            kept.append((dataset, try Dataset.readItems(from: folder), titles))
            if kept.count > Self.most { kept.removeFirst() }
        }
        guard let found = kept.last(where: { $0.dataset == dataset }) else { return [:] }
        var names: Names = [:]
        for item in items {
            if let index = found.items.index(of: item) { names[item] = found.titles[index] }
        }
        return names.filter { !$0.value.isEmpty }
    }
}
