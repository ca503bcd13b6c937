// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor
import Tables
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
        let dataset = dataset(section.required("dataset"))
        let predict = predict(section.required("predict"))
        let (model, sweep) = model(section.required("model"), dataset, predict)
        let feed = feed(section)
        let announcements = AnnouncementParser(section, problems)
        let pipeline = Pipeline(
            feed: feed,
            dataset: dataset,
            model: model,
            sweep: sweep,
            rank: section.section("rank").map { ModelParser($0).rank() },
            check: CheckParser(section, folder: folder, problems).check(dataset, predict),
            predict: predict,
            publish: publish(section.section("publish"), dataset),
            track: announcements.track(experiment: feed),
            notify: announcements.notify(),
            schedule: schedule(section)
        )
        if pipeline.rank != nil, pipeline.predict.listsFor != Audience.users.rawValue {
            problems.add(
                section.value("rank"),
                "rank: orders lists for users, not for \(pipeline.predict.listsFor)"
            )
        }
        if pipeline.predict.isOfUsers {
            checkOfUsers(section, pipeline)
        }
        if case .sessionTransformer(let settings) = pipeline.model, settings.windows != nil,
            pipeline.dataset.columns.time == nil
        {
            problems.add(
                section.value("model"),
                "model: windows need dataset: columns: time, to know what is of which"
            )
        }
        if pipeline.publish.inPlace == true { checkInPlace(section.value("check"), pipeline.check) }
        if pipeline.predict.recent != nil, pipeline.dataset.columns.time == nil {
            problems.add(
                section.value("predict"),
                "predict: recent needs dataset: columns: time"
            )
        }
        section.finish()
        return pipeline.model.isImported
            ? ImportParser(section, problems).completed(pipeline) : pipeline
    }

    private func checkOfUsers(_ section: YAMLSection, _ pipeline: Pipeline) {
        let models = [pipeline.model] + (pipeline.sweep?.arms.map(\.model) ?? [])
        let kinds = Set(models.map(\.kind)).intersection([
            Popularity.kind, ItemKNN.kind, SessionTransformer.kind, ImportedLists.kind,
        ])
        for kind in kinds.sorted() {
            problems.add(
                section.value("model"),
                "predict: of: users asks which users fit an item best, and \(kind) has no scores that compare users; als, two-tower and prod2vec have"
            )
        }
        if pipeline.publish.fallback != nil {
            problems.add(
                section.value("publish"),
                "publish: fallback: has popular items, and predict: of: users wants users"
            )
        }
    }

    /// Nothing can hold back lists that readers have as soon as they are written.
    private func checkInPlace(_ node: Node?, _ check: Pipeline.Check) {
        let late =
            check.gates.filter(\.isOfLists).map { "gate \"\($0.text)\"" }
            + (check.cases == nil ? [] : ["check: cases"])
        for what in late {
            problems.add(
                node,
                "\(what) looks at lists before readers have them; with `publish: in-place` they have them at once"
            )
        }
    }

    private func model(
        _ section: YAMLSection,
        _ dataset: DatasetSettings,
        _ predict: Pipeline.Predict
    ) -> (Pipeline.Model, Sweep?) {
        let sweep = SweepParser(
            section,
            hasValidation: dataset.split.hasValidation,
            longest: predict.rules.k,
            problems
        ).sweep()
        guard let sweep, let first = sweep.arms.first else {
            return (ModelParser(section).model(), nil)
        }
        if sweep.arms.contains(where: \.model.isImported) {
            problems.add(
                section.node,
                "model: sweep: imported lists are not trained, and no arm can be of kind lists"
            )
        }
        return (first.model, sweep)
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

    private func schedule(_ section: YAMLSection) -> String? {
        guard let text = section.string("schedule") else { return nil }
        do {
            _ = try Cron(parsing: text)
        } catch {
            problems.add(section.value("schedule"), "schedule: \(error.description)")
        }
        return text
    }

    private func dataset(_ section: YAMLSection) -> DatasetSettings {
        DatasetParser(section, folder: folder, problems).settings()
    }

    private func predict(_ section: YAMLSection) -> Pipeline.Predict {
        var audience =
            Audience(
                rawValue: section.choice("for", of: ["users", "items", "sessions"], default: nil)
            ) ?? .users
        let isOfUsers = section.choice("of", of: ["items", "users"], default: "items") == "users"
        if isOfUsers {
            if audience != .items {
                problems.add(
                    section.value("of"),
                    "predict: lists of users are for items: say for: items"
                )
            }
            audience = .users
        }
        let predict = Pipeline.Predict(
            audience: audience,
            ofUsers: isOfUsers ? true : nil,
            recent: audience == .sessions && section.value("recent") != nil
                ? section.seconds("recent", default: 0) : nil,
            rules: ListRules(
                k: section.int("k", default: 50, in: 1...10_000),
                // What was looked at in a session may well come again.
                excludesSeen: section.choice(
                    "exclude",
                    of: ["seen", "nothing"],
                    default: audience == .sessions ? "nothing" : "seen"
                ) == "seen",
                history: section.int("history", default: 1_000_000, in: 1...1_000_000)
            ),
            spare: section.value("spare") == nil
                ? nil : section.int("spare", default: 0, in: 0...10_000),
            shard: section.int("shard", default: 20_000, in: 1...10_000_000)
        )
        section.finish()
        return predict
    }

    private func publish(
        _ section: YAMLSection?,
        _ dataset: DatasetSettings
    ) -> Pipeline.Publish {
        let section = section ?? YAMLSection(nil, name: "publish", problems)
        let publish = Pipeline.Publish(
            expireSeconds: section.seconds("expire", default: 7 * 86_400),
            keep: section.int("keep", default: 2, in: 2...100),
            format: section.choice(
                "format",
                of: ListFormat.allCases.map(\.rawValue),
                default: "json"
            ),
            rate: section.value("rate") == nil
                ? nil : section.int("rate", default: 0, in: 100...100_000_000),
            compact: section.value("compact") == nil
                ? nil : section.bool("compact", default: false),
            inPlace: section.value("in-place") == nil
                ? nil : section.bool("in-place", default: false),
            fallback: section.section("fallback").map { fallback($0, dataset) }
        )
        if publish.compact == true, publish.inPlace == true {
            problems.add(
                section.value("in-place"),
                "publish: in-place is for readers that can only GET, and compact lists are not read so; take one of the two"
            )
        }
        section.finish()
        return publish
    }

    private func fallback(
        _ section: YAMLSection,
        _ dataset: DatasetSettings
    ) -> Pipeline.Publish.Fallback {
        func feature(_ key: String, of entities: [Feature.Entity]) -> String? {
            let features = dataset.features.filter { entities.contains($0.entity) && $0.hasNames }
                .map(\.name)
            guard let name = section.string(key), !features.contains(name) else {
                return section.string(key)
            }
            let near = EditDistance.nearest(to: name, in: features)
            problems.add(
                section.value(key),
                "publish: fallback: \(key) \"\(name)\""
                    + (near.map { " is no category; did you mean \($0)?" }
                        ?? " is no category of \(entities.map(\.rawValue).joined(separator: " or ")) under dataset: features:")
            )
            return nil
        }
        let fallback = Pipeline.Publish.Fallback(
            segment: feature("segment", of: [.users, .events]),
            category: feature("category", of: [.items])
        )
        section.finish()
        return fallback
    }
}
