// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Predictor
import Yams

/// Reads a pipeline file.
///
/// Relative paths in it are relative to the file.
struct PipelineParser {
    private let folder: String
    private let problems: Problems

    static func parse(file: String) throws -> Pipeline {
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            let exists = FileManager.default.fileExists(atPath: file)
            throw PipelineError(
                description: exists
                    ? "\(file): cannot be read as UTF-8 text" : "\(file): there is no such file"
            )
        }
        let folder = URL(filePath: file).absoluteURL.deletingLastPathComponent().path
        return try parse(text, name: file, folder: folder)
    }

    static func parse(_ text: String, name: String, folder: String) throws -> Pipeline {
        let root: Node?
        do {
            root = try Yams.compose(yaml: text)
        } catch let error as YamlError {
            throw PipelineError(description: "\(name): not valid YAML: \(error)")
        }
        guard let root else { throw PipelineError(description: "\(name): the file is empty") }
        let problems = Problems(file: name)
        let pipeline = PipelineParser(folder: folder, problems: problems).pipeline(root)
        try problems.throwIfAny()
        return pipeline
    }

    private func pipeline(_ root: Node) -> Pipeline {
        let section = YAMLSection(root, name: "the pipeline", problems)
        let pipeline = Pipeline(
            feed: feed(section),
            dataset: dataset(section.required("dataset")),
            model: model(section.required("model")),
            predict: predict(section.required("predict")),
            publish: publish(section.section("publish"))
        )
        section.finish()
        return pipeline
    }

    private func feed(_ section: YAMLSection) -> String {
        let feed = section.requiredString("feed")
        if !feed.isEmpty, feed.wholeMatch(of: /[a-z0-9][a-z0-9-]{0,62}/) == nil,
            let node = section.value("feed")
        {
            section.wrong(node, "feed", "small letters, digits and hyphens, at most 63")
        }
        return feed
    }

    private func dataset(_ section: YAMLSection) -> DatasetSettings {
        let columns = section.required("columns")
        let settings = DatasetSettings(
            source: table(section.required("source")),
            columns: DatasetSettings.Columns(
                user: columns.requiredString("user"),
                item: columns.requiredString("item"),
                time: columns.string("time"),
                session: columns.string("session")
            ),
            items: section.section("items").map(items),
            badRows: section.share("bad-rows", default: 0.01),
            split: split(section, hasTime: columns.value("time") != nil)
        )
        columns.finish()
        section.finish()
        return settings
    }

    private func items(_ section: YAMLSection) -> DatasetSettings.ItemTable {
        let item = section.requiredString("item")
        let title = section.requiredString("title")
        return DatasetSettings.ItemTable(table: table(section), item: item, title: title)
    }

    /// `csv:` or `tsv:` and a path.
    private func table(_ section: YAMLSection) -> DatasetSettings.TableFile {
        let given = ["csv", "tsv"].compactMap { format in
            section.string(format).map { (format, $0) }
        }
        section.finish()
        guard given.count == 1, let (format, path) = given.first else {
            if section.node != nil {
                problems.add(section.node, "a table needs either csv: or tsv:, and a path")
            }
            return DatasetSettings.TableFile(path: "", format: "csv")
        }
        let absolute = path.hasPrefix("/") ? path : folder + "/" + path
        return DatasetSettings.TableFile(
            path: URL(filePath: absolute).standardized.path,
            format: format
        )
    }

    /// `split: leave-last-one`, or a mapping with `by:`.
    private func split(_ section: YAMLSection, hasTime: Bool) -> Split {
        guard let node = section.value("split") else { return .leaveLastOne }
        let kinds = ["leave-last-one", "time", "sequences"]
        if node.scalar != nil {
            _ = section.choice("split", of: ["leave-last-one"], default: nil)
            return .leaveLastOne
        }
        let split = YAMLSection(node, name: "dataset: split", problems)
        defer { split.finish() }
        switch split.choice("by", of: kinds, default: nil) {
        case "time":
            if !hasTime { problems.add(node, "a split by time needs dataset: columns: time") }
            return .time(test: split.seconds("test", default: nil))
        case "sequences":
            let validation = split.share("validation", default: 0.2)
            let test = split.share("test", default: 0.1)
            if validation + test >= 1 { problems.add(node, "the split leaves nothing to train on") }
            return .sequences(
                validation: validation,
                test: test,
                seed: split.int("seed", default: 42, in: 0...Int(Int32.max))
            )
        default: return .leaveLastOne
        }
    }

    private func model(_ section: YAMLSection) -> Pipeline.Model {
        let kind =
            section.node == nil
            ? Popularity.kind
            : section.choice("kind", of: Pipeline.Model.kinds, default: nil)
        guard kind == Prod2Vec.kind else {
            // Of a kind that does not exist, nobody knows the keys.
            if section.value("kind")?.scalar?.string == kind { section.finish() }
            return .popularity
        }
        defer { section.finish() }
        var s = Prod2VecSettings()
        s.vectorSize = section.int("vector-size", default: s.vectorSize, in: 1...4096)
        s.window = section.int("window", default: s.window, in: 1...1000)
        s.negative = section.int("negative", default: s.negative, in: 1...100)
        s.nsExponent = section.double("ns-exponent", default: s.nsExponent, in: -2...2)
        s.sample = section.double("sample", default: s.sample, in: 0...1)
        s.minCount = section.int("min-count", default: s.minCount, in: 1...1_000_000_000)
        s.alpha = section.double("alpha", default: s.alpha, in: 1e-9...10)
        s.minAlpha = section.double("min-alpha", default: s.minAlpha, in: 0...10)
        s.epochs = section.int("epochs", default: s.epochs, in: 1...10_000)
        s.skipGram = section.bool("skip-gram", default: s.skipGram)
        s.seed = section.int("seed", default: s.seed, in: 0...Int(Int32.max))
        s.threads = section.int("threads", default: s.threads, in: 1...256)
        return .prod2vec(s)
    }

    private func predict(_ section: YAMLSection) -> Pipeline.Predict {
        let audience =
            Audience(
                rawValue: section.choice("for", of: ["users", "items"], default: nil)
            ) ?? .users
        let predict = Pipeline.Predict(
            audience: audience,
            rules: ListRules(
                k: section.int("k", default: 50, in: 1...10_000),
                excludesSeen: section.choice("exclude", of: ["seen", "nothing"], default: "seen")
                    == "seen",
                history: section.int("history", default: 1_000_000, in: 1...1_000_000)
            ),
            shard: section.int("shard", default: 20_000, in: 1...10_000_000)
        )
        section.finish()
        return predict
    }

    private func publish(_ section: YAMLSection?) -> Pipeline.Publish {
        let section = section ?? YAMLSection(nil, name: "publish", problems)
        let publish = Pipeline.Publish(
            expireSeconds: section.seconds("expire", default: 7 * 86_400),
            keep: section.int("keep", default: 2, in: 2...100),
            format: section.choice(
                "format",
                of: ListFormat.allCases.map(\.rawValue),
                default: "json"
            )
        )
        section.finish()
        return publish
    }
}
