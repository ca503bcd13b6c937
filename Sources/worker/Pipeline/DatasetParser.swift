// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import Tables
import Yams

/// Reads `dataset:` of a pipeline file.
struct DatasetParser {
    private let section: YAMLSection
    private let folder: String
    private let problems: Problems
    private let columns: YAMLSection

    init(_ section: YAMLSection, folder: String, _ problems: Problems) {
        self.section = section
        self.folder = folder
        self.problems = problems
        columns = section.required("columns")
    }

    func settings() -> DatasetSettings {
        let settings = DatasetSettings(
            source: table(section.required("source")),
            columns: DatasetSettings.Columns(
                user: columns.requiredString("user"),
                item: columns.requiredString("item"),
                time: columns.string("time")
            ),
            sessions: sessions(),
            keep: section.section("keep").map(keep) ?? Keep(),
            weights: section.section("weights").map(weights),
            users: section.section("users").map { entities($0, hasTitle: false) },
            items: section.section("items").map { entities($0, hasTitle: true) },
            features: section.section("features").map(features) ?? [],
            badRows: section.share("bad-rows", default: 0.01),
            split: split(),
            vocabulary: DatasetSettings.VocabularyPolicy(
                rawValue: section.choice("vocabulary", of: ["keep", "fresh"], default: "keep")
            ) ?? .keep
        )
        columns.finish()
        section.finish()
        return settings
    }

    private var hasTime: Bool { columns.value("time") != nil }

    private func needsTime(_ section: YAMLSection, _ key: String) {
        guard !hasTime, let node = section.value(key) else { return }
        problems.add(node, "\(section.path(key)) needs dataset: columns: time")
    }

    // MARK: tables

    private func entities(_ section: YAMLSection, hasTitle: Bool) -> EntityTable {
        let id = section.requiredString(hasTitle ? "item" : "user")
        let title = hasTitle ? section.string("title") : nil
        return EntityTable(table: table(section), id: id, title: title)
    }

    private func features(_ section: YAMLSection) -> [Feature] {
        FeatureParser(section, hasTime: hasTime, problems).features { entity in
            self.section.value(entity.rawValue) != nil
        }
    }

    /// One of the kinds of tables as a key, and where it is.
    private func table(_ section: YAMLSection) -> TableSource {
        let kinds = TableSource.Kind.allCases
        let given = kinds.compactMap { kind in section.string(kind.rawValue).map { (kind, $0) } }
        let server = given.first?.0 == .postgres ? section.string("server") : nil
        let sha256 = section.string("sha256")
        section.finish()
        guard given.count == 1, let (kind, text) = given.first else {
            if section.node != nil {
                let names = kinds.map { "\($0.rawValue):" }.joined(separator: ", ")
                problems.add(section.node, "a table needs one of \(names)")
            }
            return TableSource(.csv, "")
        }
        if let server, server.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil {
            // Perhaps a URL with a password: it is not repeated.
            problems.add(
                section.value("server"),
                "server is the name of an environment variable that holds the URL, such as WAREHOUSE_URL"
            )
        }
        switch kind {
        case .csv, .tsv, .jsonl, .parquet:
            if text.contains("://") { return address(kind, text, sha256: sha256, section) }
            if sha256 != nil {
                problems.add(section.value("sha256"), "sha256 is for what comes over the network")
            }
            let absolute = text.hasPrefix("/") ? text : folder + "/" + text
            return TableSource(kind, URL(filePath: absolute).standardized.path)
        case .duckdb: return TableSource(kind, text, folder: folder)
        case .postgres: return TableSource(kind, text, server: server)
        }
    }

    private func address(
        _ kind: TableSource.Kind,
        _ text: String,
        sha256: String?,
        _ section: YAMLSection
    ) -> TableSource {
        let source = TableSource(kind, text, sha256: sha256)
        let node = section.value(kind.rawValue)
        if !source.isRemote {
            problems.add(node, "addresses begin with http://, https:// or s3://")
        } else if kind == .parquet {
            problems.add(
                node,
                "parquet is read from files; bring it here first, or read it with duckdb: and its httpfs"
            )
        } else if URL(string: text)?.user(percentEncoded: true) != nil {
            // It is not repeated here either.
            problems.add(
                node,
                "an address with a name or password would stand in the queue; put them into ~/.netrc of the worker"
            )
        }
        if let sha256, sha256.wholeMatch(of: /[0-9a-fA-F]{64}/) == nil {
            problems.add(section.value("sha256"), "sha256 must be 64 hexadecimal digits")
        }
        if sha256 != nil, text.hasPrefix("s3://"), text.contains(where: { "*?[".contains($0) }) {
            problems.add(section.value("sha256"), "sha256 is of one file, not of a pattern")
        }
        return source
    }

    // MARK: what is kept

    /// `columns: session: NAME`, or `sessions: { gap: 30m }`; and which of them are kept.
    private func sessions() -> DatasetSettings.Sessions {
        var sessions = DatasetSettings.Sessions()
        if let column = columns.string("session") { sessions.by = .column(column) }
        guard let section = section.section("sessions") else { return sessions }
        if section.value("gap") != nil {
            if sessions.by != .users {
                problems.add(section.node, "sessions are either a column or cut by a gap, not both")
            }
            sessions.by = .gap(section.seconds("gap", default: nil))
            needsTime(section, "gap")
        }
        sessions.minEvents = section.int("min-events", default: 1, in: 1...1_000_000)
        if section.value("last") != nil {
            sessions.last = section.int("last", default: 1, in: 1...1_000_000)
        }
        section.finish()
        return sessions
    }

    private func keep(_ section: YAMLSection) -> Keep {
        var keep = Keep()
        if let text = section.string("positive") {
            keep.positive = Condition(text)
            if keep.positive == nil, let node = section.value("positive") {
                section.wrong(
                    node,
                    "positive",
                    "a comparison such as \"rating >= 4\" or \"event in view, cart\""
                )
            }
        }
        keep.from = section.date("from")
        keep.to = section.date("to")
        keep.last = section.value("last") == nil ? nil : section.seconds("last", default: nil)
        for key in ["from", "to", "last"] { needsTime(section, key) }
        if let from = keep.from, let to = keep.to, from >= to {
            problems.add(section.value("to"), "dataset: keep: no time is from \"from\" to \"to\"")
        }
        keep.sample = section.share("sample", default: 1)
        if keep.sample == 0 { problems.add(section.value("sample"), "the sample keeps nothing") }
        keep.seed = section.int("seed", default: 1, in: 0...Int(Int32.max))
        keep.duplicates =
            Keep.Duplicates(
                rawValue: section.choice(
                    "duplicates",
                    of: Keep.Duplicates.allCases.map(\.rawValue),
                    default: "all"
                )
            ) ?? .all
        keep.minUserEvents = section.int("min-user-events", default: 1, in: 1...1_000_000)
        keep.minItemEvents = section.int("min-item-events", default: 1, in: 1...1_000_000_000)
        section.finish()
        return keep
    }

    private func weights(_ section: YAMLSection) -> Weights {
        let column = section.requiredString("column")
        let values = section.required("values")
        var worth: [String: Float] = [:]
        for key in values.keys {
            worth[key] = Float(values.double(key, default: 1, in: 0...1e6))
        }
        if values.node != nil && worth.isEmpty {
            problems.add(values.node, "dataset: weights: values says of no type what it is worth")
        }
        let halfLife =
            section.value("half-life") == nil ? nil : section.seconds("half-life", default: nil)
        needsTime(section, "half-life")
        section.finish()
        return Weights(column: column, values: worth, halfLife: halfLife)
    }

    // MARK: splits

    /// `split: leave-last-one`, or a mapping with `by:`.
    private func split() -> Split {
        let kinds = ["leave-last-one", "time", "sequences", "users", "column"]
        guard let node = section.value("split") else { return .leaveLastOne(validation: false) }
        if node.scalar != nil {
            _ = section.choice("split", of: ["leave-last-one"], default: nil)
            return .leaveLastOne(validation: false)
        }
        let split = YAMLSection(node, name: "dataset: split", problems)
        defer { split.finish() }
        switch split.choice("by", of: kinds, default: nil) {
        case "time":
            if !hasTime { problems.add(node, "a split by time needs dataset: columns: time") }
            return .time(
                validation: split.value("validation") == nil
                    ? 0 : split.seconds("validation", default: nil),
                test: split.seconds("test", default: nil)
            )
        case "sequences":
            let (validation, test, seed) = shares(split, node, validation: 0.2)
            return .sequences(validation: validation, test: test, seed: seed)
        case "users":
            let (validation, test, seed) = shares(split, node, validation: 0)
            return .users(validation: validation, test: test, seed: seed)
        case "column":
            return .column(
                split.requiredString("column"),
                validation: split.string("validation") ?? "validation",
                test: split.string("test") ?? "test"
            )
        default: return .leaveLastOne(validation: split.bool("validation", default: false))
        }
    }

    private func shares(
        _ split: YAMLSection,
        _ node: Node,
        validation: Double
    ) -> (validation: Double, test: Double, seed: Int) {
        let validation = split.share("validation", default: validation)
        let test = split.share("test", default: 0.1)
        if validation + test >= 1 { problems.add(node, "the split leaves nothing to train on") }
        return (validation, test, split.int("seed", default: 42, in: 0...Int(Int32.max)))
    }
}
