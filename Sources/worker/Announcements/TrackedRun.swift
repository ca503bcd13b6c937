// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Transfer

/// A run as MLflow has it: settings as parameters, curves and quality as metrics, the card as a file;
/// each arm of a sweep is a run below it.
struct TrackedRun {
    /// Where it is there.
    struct Place: Codable {
        let experiment: String
        let own: MLflow.Run
        var arms: [Int: MLflow.Run] = [:]
    }

    private let run: Runs.Run
    private let pipeline: Pipeline
    private let server: MLflow
    private(set) var place: Place

    /// `place`: as a look before has left it; nil: finds what there is, or makes it.
    init(
        _ run: Runs.Run,
        _ pipeline: Pipeline,
        on server: MLflow,
        at place: Place?,
        in experiment: String
    ) throws {
        self.run = run
        self.pipeline = pipeline
        self.server = server
        self.place = try place ?? Self.find(run, pipeline, on: server, in: experiment)
    }

    var address: String { server.address(of: place.own, place.experiment) }

    // MARK: settings

    private static let armTag = "larder.arm"

    /// What tells a run of one database from all others.
    private static func tags(_ run: Runs.Run) -> [String: String] {
        ["larder.feed": run.feed, "larder.run": "\(run.id)", "larder.started": "\(run.started)"]
    }

    private static func find(
        _ run: Runs.Run,
        _ pipeline: Pipeline,
        on server: MLflow,
        in name: String
    ) throws -> Place {
        let experiment = try server.experiment(name)
        let found = try server.runs(in: experiment, having: tags(run))
        let known = found.first { $0.tags[armTag] == nil }
        var all = tags(run)
        all["mlflow.source.name"] = "larder"
        all["mlflow.source.type"] = "JOB"
        let own =
            try known?.run
            ?? server.start(
                "\(run.feed) \(run.id)",
                in: experiment,
                at: milliseconds(run.started),
                tags: MLflow.Tag.all(all)
            )
        // Whoever made it may have been stopped right behind it. Which model a sweep ends in is known
        // at its end.
        if known?.hasParameters != true {
            var settings = pipeline.shareable
            settings.sweep = nil
            let parameters = try parameters(settings, "")
            try server.log(
                own,
                parameters: pipeline.sweep == nil
                    ? parameters : parameters.filter { !$0.key.hasPrefix("model.") }
            )
        } else {
            // After a retry it has ended there, and goes on here.
            try server.update(own, .running, end: nil)
        }
        var place = Place(experiment: experiment, own: own)
        for arm in found {
            guard let number = arm.tags[armTag].flatMap({ Int($0) }) else { continue }
            place.arms[number] = arm.run
            if !arm.hasParameters { try log(armSettings(number, pipeline), arm.run, server) }
        }
        return place
    }

    private static func armSettings(_ number: Int, _ pipeline: Pipeline) -> Sweep.Arm? {
        let arms = pipeline.sweep?.arms ?? []
        return arms.indices.contains(number - 1) ? arms[number - 1] : nil
    }

    private static func log(_ arm: Sweep.Arm?, _ run: MLflow.Run, _ server: MLflow) throws {
        if let arm { try server.log(run, parameters: parameters(arm.model, "model.")) }
    }

    private mutating func arm(_ number: Int) throws -> MLflow.Run {
        if let known = place.arms[number] { return known }
        let settings = Self.armSettings(number, pipeline)
        var tags = Self.tags(run)
        tags[Self.armTag] = "\(number)"
        tags["mlflow.parentRunId"] = place.own.id
        let made = try server.start(
            "arm \(number): \(settings?.name ?? "")",
            in: place.experiment,
            at: Self.milliseconds(run.started),
            tags: MLflow.Tag.all(tags)
        )
        try Self.log(settings, made, server)
        place.arms[number] = made
        return made
    }

    private static func parameters(
        _ settings: some Encodable,
        _ prefix: String
    ) throws -> [String: String] {
        let leaves = try Flattened(JSONEncoder().encode(settings)).values
        return Dictionary(
            leaves.map { (name(prefix + $0.key.replacing(" ", with: ".")), $0.value) }
        ) { first, _ in first }
    }

    // MARK: curves

    mutating func log(_ points: some Sequence<Runs.TimedPoint>) throws {
        let metrics = Dictionary(grouping: points) { Self.armAndMetric(of: $0.name).arm }
        for (number, points) in metrics.sorted(by: { ($0.key ?? 0) < ($1.key ?? 0) }) {
            try server.log(
                number.map { try arm($0) } ?? place.own,
                metrics: points.map { point in
                    MLflow.Metric(
                        key: Self.name(Self.armAndMetric(of: point.name).metric),
                        value: point.value,
                        timestamp: point.at / 1000,
                        step: point.step
                    )
                }
            )
        }
    }

    /// `train 3/9 round 2/loss` is the loss of arm 3; a round goes on where the one before ended.
    static func armAndMetric(of name: String) -> (arm: Int?, metric: String) {
        guard let match = name.wholeMatch(of: /train (\d+)\/\d+(?: round \d+)?\/(.+)/) else {
            return (nil, name)
        }
        return (Int(match.1), String(match.2))
    }

    /// As MLflow allows: `hit-rate@10[country=IT]` becomes `hit-rate_at_10/country_IT`.
    static func name(_ metric: String) -> String {
        let spelt = metric.replacing("@", with: "_at_").replacing("[", with: "/")
            .replacing("]", with: "")
        let parts = spelt.split(separator: "/").map { part -> String in
            if part.allSatisfy({ $0 == "." }) { return "_" }
            return String(part.unicodeScalars.map { Character(isAllowed($0) ? $0 : "_") })
        }
        let name = parts.joined(separator: "/").prefix(MLflow.longestName)
        return String(name.hasSuffix("/") ? name.dropLast() : name)
    }

    /// As in Python's `\w`, and some.
    private static func isAllowed(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter,
            .decimalNumber, .letterNumber, .otherNumber:
            true
        default: "_-. :".unicodeScalars.contains(scalar)
        }
    }

    // MARK: at its end

    /// Returns what could not be handed over, in words.
    mutating func end(_ summary: RunSummary, card: String) throws -> String? {
        let end = Self.milliseconds(run.started + (run.seconds ?? 0))
        func metric(_ name: String, _ value: Double) -> MLflow.Metric {
            MLflow.Metric(key: Self.name(name), value: value, timestamp: end, step: 0)
        }
        let rows = summary.train?.sweep?.arms ?? []
        for row in rows {
            let arm = try arm(row.number)
            var metrics: [MLflow.Metric] = []
            if let cost = row.cost {
                metrics = [
                    metric("cost/seconds", cost.seconds),
                    metric("cost/cpu-seconds", cost.cpuSeconds),
                    metric("cost/peak-mib", cost.peakMiB),
                ]
            }
            var tags = ["larder.fate": row.fate]
            tags["larder.model"] = row.model
            try server.log(arm, metrics: metrics, tags: MLflow.Tag.all(tags))
            try server.update(arm, row.status, end: end)
        }
        // Of a sweep that came to no choice.
        let state = MLflow.Status(ofRun: run.state)
        for (number, arm) in place.arms where !rows.contains(where: { $0.number == number }) {
            try server.update(arm, state, end: end)
        }
        // What the model itself measured is there already, as `test/`.
        let baselines = (summary.check?.report.systems.dropFirst() ?? []).flatMap { system in
            system.metrics.filter { !$0.key.contains("[") }.sorted { $0.key < $1.key }
                .map { metric("\(system.name)/\($0.key)", $0.value.value) }
        }
        let chosen = pipeline.model(ofArm: summary.train?.arm?.number)
        try server.log(
            place.own,
            metrics: baselines,
            parameters: pipeline.sweep == nil
                ? [:] : chosen.map { try Self.parameters($0, "model.") } ?? [:],
            tags: MLflow.Tag.all(tags(summary))
        )
        try server.update(place.own, state, end: end)
        let instead = "the card stays with `larder runs card \(run.id)`"
        do {
            let isTaken = try server.upload(card, as: "card.html", type: "text/html", to: place.own)
            if isTaken { return nil }
        } catch let error as TransferError {
            return "\(instead): \(error)"
        }
        return """
            \(instead): the server keeps files at \(place.own.artifacts), and hands none on to there
            """
    }

    private func tags(_ summary: RunSummary) -> [String: String] {
        var tags = ["larder.state": run.state]
        tags["larder.dataset"] = summary.prepare?.dataset
        tags["larder.model"] = summary.refit?.model ?? summary.train?.model
        tags["larder.release"] = summary.publish.map { "\($0.release)" }
        tags["larder.forced"] = run.forced
        if let report = summary.check?.report, let k = report.ks.first {
            tags["mlflow.note.content"] = report.verdicts("ndcg@\(k)")
        }
        return tags
    }

    private static func milliseconds(_ seconds: Double) -> Int { Int(seconds * 1000) }
}

extension MLflow.Status {
    init(ofRun state: String) {
        switch state {
        case "succeeded": self = .finished
        case "cancelled": self = .killed
        case "failed": self = .failed
        default: self = .running
        }
    }
}

extension MLflow.Tag {
    fileprivate static func all(_ tags: [String: String]) -> [MLflow.Tag] {
        tags.sorted { $0.key < $1.key }.map { MLflow.Tag(key: $0.key, value: $0.value) }
    }
}

extension SweepReport.Row {
    /// An arm that was stopped early was measured, and is finished as far as it came.
    fileprivate var status: MLflow.Status {
        if ["chosen", "not chosen"].contains(fate) || fate.hasPrefix("stopped after") {
            return .finished
        }
        return fate.hasPrefix("failed") ? .failed : .killed
    }
}
