// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Artifacts
import Foundation
import Predictor
import Tables

struct ShowDataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Counts, distributions, columns and first events of a dataset.",
        discussion: "`larder runs show RUN` names the dataset of a run."
    )

    @Argument(help: "A dataset's id, or the beginning of it.") var dataset: String
    @Option(help: "How many events to show.") var head = 5
    @OptionGroup var stores: StoreOptions

    private struct Answer: Encodable {
        let dataset: String
        let source: String
        let read: ReadReport
        let profile: DatasetProfile
    }

    func run() throws {
        let artifact = try stores.artifactStore().find(kind: "dataset", prefix: dataset)
        let about = try artifact.manifest(PrepareStep.About.self)
        let dataset = try Dataset(from: artifact.folder)
        let profile = try DatasetProfile(dataset)
        let answer = Answer(
            dataset: artifact.id,
            source: about.settings.source.name,
            read: about.summary.read,
            profile: profile
        )
        if stores.json { return try Output.json(answer) }
        show(answer)
        try showHead(dataset)
    }

    private func show(_ answer: Answer) {
        let profile = answer.profile
        print("dataset \(answer.dataset.prefix(12)) of \(answer.source)")
        print("\(Output.count(answer.read.rows)) rows read, \(answer.read.badRows) unusable")
        for line in answer.read.lines { print("  \(line)") }
        print(
            """

            \(Output.count(profile.users)) users, \(Output.count(profile.items)) items, \
            \(Output.count(profile.sequences)) sequences, \(Output.count(profile.events)) events
            """
        )
        let parts = Part.allCases.compactMap { part in
            profile.parts["\(part)"].map { "\(part) \(Output.count($0))" }
        }
        print("  " + parts.joined(separator: ", "))
        if let first = profile.firstTime, let last = profile.lastTime {
            print("  from \(Self.time(first)) to \(Self.time(last))")
        }
        show("events of a user", profile.userEvents)
        show("events of an item", profile.itemEvents)
        if profile.sequences != profile.users {
            show("events of a sequence", profile.sequenceEvents)
        }
        show(profile.columns)
    }

    // MARK: histograms

    private func show(_ name: String, _ histogram: DatasetProfile.Histogram) {
        print(
            "\n\(name): "
                + String(format: "mean %.1f, ", histogram.mean)
                + "median \(Output.count(histogram.median)), most \(Output.count(histogram.largest))"
        )
        let most = histogram.bins.map(\.count).max() ?? 1
        let labels = histogram.bins.map { bin in
            bin.first == bin.last
                ? Output.count(bin.first)
                : "\(Output.count(bin.first)) to \(Output.count(min(bin.last, histogram.largest)))"
        }
        let width = labels.map(\.count).max() ?? 0
        for (bin, label) in zip(histogram.bins, labels) {
            let pad = String(repeating: " ", count: width - label.count)
            print("  \(pad)\(label)  \(Self.bar(bin.count, of: most)) \(Output.count(bin.count))")
        }
    }

    /// Forty columns wide, in eighths.
    private static func bar(_ count: Int, of most: Int) -> String {
        let eighths = most > 0 ? count * 320 / most : 0
        let parts = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"]
        let bar = String(repeating: "█", count: eighths / 8) + parts[eighths % 8]
        return bar.isEmpty && count > 0 ? "▏" : bar
    }

    // MARK: columns

    private func show(_ columns: [DatasetProfile.Column]) {
        guard !columns.isEmpty else { return }
        print()
        Output.table(
            ["feature", "of", "type", "codes", "width", "values"],
            columns.map { column in
                let schema = column.schema
                return [
                    schema.name, schema.entity.rawValue,
                    schema.type.rawValue + (schema.isList ? " list" : ""),
                    schema.cardinality.map { Output.count($0) } ?? "",
                    schema.width.map { "\($0)" } ?? "", Self.values(of: column),
                ]
            }
        )
    }

    private static func values(of column: DatasetProfile.Column) -> String {
        if column.range.count == 3 {
            return String(
                format: "%.3g to %.3g, mean %.3g",
                column.range[0],
                column.range[2],
                column.range[1]
            )
        }
        var parts = column.top.map { "\($0.value) \(Output.count($0.count))" }
        if let missing = column.missing, missing > 0 {
            parts.append("missing \(Output.count(missing))")
        }
        if let unknown = column.unknown, unknown > 0 {
            parts.append("unknown \(Output.count(unknown))")
        }
        return parts.joined(separator: ", ")
    }

    private func showHead(_ dataset: Dataset) throws {
        let columns = dataset.schema.columns(of: .events).filter { $0.type != .id }
        let values = try columns.map { try dataset.values(of: $0) }
        let decoders = try columns.map { try FeatureText($0, dataset) }
        print()
        var rows: [[String]] = []
        var user = 0
        for event in 0..<min(max(0, head), dataset.eventItems.count) {
            while dataset.events(ofUser: user).upperBound <= event { user += 1 }
            let item = Int(dataset.eventItems[event])
            let part = Part(rawValue: dataset.eventParts[event]).map { "\($0)" } ?? "?"
            let time = Int(dataset.eventTimes[event])
            rows.append(
                [
                    dataset.users[user],
                    dataset.items[item] + (dataset.title(item).map { " (\($0))" } ?? ""),
                    time == 0 ? "" : Self.time(time), part,
                ] + zip(values, decoders).map { $1.text(of: $0, at: event) }
            )
        }
        Output.table(["user", "item", "time", "part"] + columns.map(\.name), rows)
    }

    private static func time(_ seconds: Int) -> String {
        Date(timeIntervalSince1970: Double(seconds)).formatted(.iso8601)
    }
}

/// A feature's value as the source had it.
private struct FeatureText {
    private let column: Schema.Column
    private let code: (Int32) -> String

    init(_ column: Schema.Column, _ dataset: Dataset) throws {
        self.column = column
        code = try column.text(dataset)
    }

    func text(of values: FeatureValues, at row: Int) -> String {
        switch values {
        case .codes(let codes): code(codes[row])
        case .lists(let codes, let offsets):
            codes[Int(offsets[row])..<Int(offsets[row + 1])].map(code).joined(separator: " ")
        case .numbers(let numbers):
            String(format: "%.4g", column.fit?.value(of: numbers[row]) ?? numbers[row])
        }
    }
}
