// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import Yams

/// Reads `features:` of a dataset.
struct FeatureParser {
    private let section: YAMLSection
    private let problems: Problems
    private let hasTime: Bool

    init(_ section: YAMLSection, hasTime: Bool, _ problems: Problems) {
        self.section = section
        self.hasTime = hasTime
        self.problems = problems
    }

    /// `hasTable` says whether users or items have a table of their own.
    func features(hasTable: (Feature.Entity) -> Bool) -> [Feature] {
        var features: [Feature] = []
        for entity in Feature.Entity.allCases {
            guard let group = section.section(entity.rawValue) else { continue }
            for name in group.keys {
                guard let node = group.value(name) else { continue }
                if name.wholeMatch(of: /[A-Za-z0-9_-]{1,64}/) == nil || name == "user"
                    || name == "item"
                {
                    problems.add(
                        node,
                        "\"\(name)\" cannot be the name of a feature: letters, digits, - and _, and not user or item"
                    )
                }
                let own = YAMLSection(node, name: group.path(name), problems)
                guard let kind = kind(own, entity) else { continue }
                let feature = Feature(name, of: entity, kind)
                if entity != .events, !hasTable(entity), feature.needsTable {
                    problems.add(
                        node,
                        "\(own.name) needs dataset: \(entity.rawValue): the table it is in"
                    )
                }
                let names = [name] + feature.tensorNames
                if let other = features.first(where: { other in
                    names.contains { ([other.name] + other.tensorNames).contains($0) }
                }) {
                    problems.add(
                        node,
                        other.name == name
                            ? "there are two features named \(name)"
                            : "the columns of \(own.name) are called as those of \(other.name) are"
                    )
                }
                features.append(feature)
            }
        }
        section.finish()
        check(features)
        return features
    }

    /// A feature's kind is its first key that is one.
    private func kind(_ own: YAMLSection, _ entity: Feature.Entity) -> Feature.Kind? {
        defer { own.finish() }
        let kinds =
            ["category", "number", "bucket"]
            + (entity == .events ? ["time", "target"] : ["statistic"])
        let given = kinds.filter { own.value($0) != nil }
        guard given.count == 1 else {
            problems.add(own.node, "\(own.name) needs one of \(kinds.joined(separator: ", "))")
            return nil
        }
        switch given[0] {
        case "category": return category(own)
        case "number": return .number(column: own.requiredString("number"), scaling(own))
        case "bucket": return bucket(own)
        case "time": return time(own)
        case "statistic": return statistic(own)
        default: return target(own)
        }
    }

    private func category(_ own: YAMLSection) -> Feature.Kind {
        let separator = own.string("list")
        let last =
            own.value("last") == nil ? nil : own.int("last", default: 1, in: 1...1_000_000)
        if last != nil && separator == nil {
            problems.add(own.value("last"), "\(own.name): last is of a list; say what separates it")
        }
        return .category(
            Feature.Category(
                column: own.requiredString("category"),
                separator: separator,
                last: last,
                minCount: own.value("min-count") == nil
                    ? nil : own.int("min-count", default: 1, in: 1...1_000_000_000),
                hashBuckets: own.int("hash", default: 0, in: 0...100_000_000),
                vocabulary: own.string("vocabulary")
            )
        )
    }

    private func scaling(_ own: YAMLSection) -> Feature.Scaling {
        var scaling = Feature.Scaling()
        switch own.value("fill")?.scalar?.string {
        case nil, "mean": break
        case "median": scaling.fill = .median
        default: scaling.fill = .value(Float(own.double("fill", default: 0, in: -1e30...1e30)))
        }
        scaling.log = own.bool("log", default: false)
        let scales = Feature.Scaling.Scale.allCases.map(\.rawValue)
        scaling.scale = .init(rawValue: own.choice("scale", of: scales, default: "none")) ?? .none
        return scaling
    }

    private func bucket(_ own: YAMLSection) -> Feature.Kind {
        let boundaries = own.numbers("at").map { Float($0) }
        if zip(boundaries, boundaries.dropFirst()).contains(where: { $0 >= $1 }) {
            problems.add(own.value("at"), "\(own.name): at must be ascending")
        }
        return .bucket(column: own.requiredString("bucket"), boundaries: boundaries)
    }

    private func time(_ own: YAMLSection) -> Feature.Kind {
        if !hasTime { problems.add(own.node, "\(own.name) needs dataset: columns: time") }
        let part = own.choice("time", of: ["hour", "weekday", "item-age"], default: nil)
        guard let part = Feature.TimePart(rawValue: part) else { return .age(scaling(own)) }
        let zone = own.string("zone") ?? "UTC"
        if TimeZone(identifier: zone) == nil {
            problems.add(own.value("zone"), "\(zone) is not a time zone, such as Europe/Rome")
        }
        return .time(part, zone: zone)
    }

    private func statistic(_ own: YAMLSection) -> Feature.Kind {
        let names = Feature.Statistic.allCases.map(\.rawValue)
        let statistic =
            Feature.Statistic(rawValue: own.choice("statistic", of: names, default: nil)) ?? .count
        let column = statistic == .count ? own.string("of") : own.requiredString("of")
        return .statistic(statistic, column: column, scaling(own))
    }

    private func target(_ own: YAMLSection) -> Feature.Kind {
        .target(
            Feature.TargetEncoding(
                column: own.requiredString("target"),
                by: own.requiredString("by"),
                folds: own.int("folds", default: 5, in: 2...100),
                smoothing: Float(own.double("smoothing", default: 20, in: 0...1e9)),
                seed: own.int("seed", default: 42, in: 0...Int(Int32.max))
            )
        )
    }

    // MARK: what one says of another

    private func check(_ features: [Feature]) {
        for feature in features {
            guard let node = section.section(feature.entity.rawValue)?.value(feature.name) else {
                continue
            }
            let name = "dataset: features: \(feature.entity.rawValue): \(feature.name)"
            if case .target(let target) = feature.kind, !["user", "item"].contains(target.by),
                !features.contains(where: { $0.name == target.by && $0.hasOneCode })
            {
                problems.add(
                    node,
                    "\(name): by is user, item, or a category feature that is no list; \"\(target.by)\" is none"
                )
            }
            guard case .category(let own) = feature.kind else { continue }
            for other in features where other.name != feature.name {
                guard case .category(let theirs) = other.kind,
                    theirs.vocabulary ?? other.name == own.vocabulary ?? feature.name,
                    theirs.minCount != own.minCount || theirs.hashBuckets != own.hashBuckets
                else { continue }
                problems.add(
                    node,
                    "\(name): min-count and hash must be those of \(other.name), which shares its vocabulary"
                )
            }
        }
    }
}

extension Feature {
    fileprivate var needsTable: Bool {
        if case .statistic = kind { return false }
        return true
    }

    fileprivate var hasOneCode: Bool {
        switch kind {
        case .category(let category): category.separator == nil
        case .bucket: true
        default: false
        }
    }
}
