// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Jobs
import Predictor

/// Events in, a dataset artifact out.
struct PrepareStep {
    private let input: StepInput

    init(_ input: StepInput) { self.input = input }

    /// What the manifest of a dataset says beside its files.
    struct About: Codable, Sendable {
        let settings: DatasetSettings
        let read: ReadReport
    }

    func run() throws -> JobResult {
        let settings = input.pipeline.dataset
        try input.progress(0, "reading \(settings.source.path)")
        let (dataset, read) = try DatasetBuilder.build(settings) { rows in
            // How many rows there are is known at the end: the bar only shows that it moves.
            try input.progress(Double(rows) / Double(rows + 500_000), "\(rows) rows read")
        }
        try input.progress(0.95, "writing the dataset")
        let artifact = try input.services.artifacts.add(
            kind: "dataset",
            about: About(settings: settings, read: read)
        ) { folder in try dataset.write(to: folder) }
        return try JobResult(
            PrepareResult(
                dataset: artifact.id,
                users: dataset.users.count,
                items: dataset.items.count,
                events: dataset.eventItems.count,
                read: read
            )
        )
    }
}
