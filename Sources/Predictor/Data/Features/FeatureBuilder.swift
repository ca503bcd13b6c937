// SPDX-License-Identifier: Apache-2.0
import Tables

/// Fits features to the training events, and says what the columns of a dataset are made of.
struct FeatureBuilder {
    let users: FeatureRows
    let items: FeatureRows
    let events: FeatureRows
    let times: Spool<Int64>
    /// Of each event.
    let userOfEvent: (Int) -> Int32
    let itemOfEvent: (Int) -> Int32

    struct Result {
        var columns: [FeatureColumn] = []
        /// The values that codes stand for, by the name of the vocabulary.
        var dictionaries: [String: StringTable] = [:]

        func columns(of entity: Feature.Entity) -> [FeatureColumn] {
            columns.filter { $0.column.entity == entity }
        }
    }

    func build(_ features: [Feature]) throws -> Result {
        var result = Result()
        addCategories(features, to: &result)
        for feature in features {
            switch feature.kind {
            case .category, .target: continue
            case .bucket(let column, let boundaries):
                result.columns.append(bucket(feature, column, boundaries))
            case .number(let column, let scaling):
                let rows = rows(of: feature.entity)
                let numbers = rows.number(column)
                result.columns.append(number(feature, scaling, rows) { numbers[$0] })
            case .time(let part, let zone):
                result.columns += try timeParts(feature, part, zone)
            case .age(let scaling): result.columns.append(age(feature, scaling))
            case .statistic(let statistic, let column, let scaling):
                result.columns.append(self.statistic(feature, statistic, column, scaling))
            }
        }
        // These look at categories.
        for feature in features {
            guard case .target(let target) = feature.kind else { continue }
            result.columns.append(encode(feature, target, by: result.columns))
        }
        return result
    }

    private func rows(of entity: Feature.Entity) -> FeatureRows {
        switch entity {
        case .users: users
        case .items: items
        case .events: events
        }
    }

    // MARK: categories

    private func addCategories(_ features: [Feature], to result: inout Result) {
        var groups: [(name: String, members: [(Feature, Feature.Category)])] = []
        for feature in features {
            guard case .category(let category) = feature.kind else { continue }
            let name = category.vocabulary ?? feature.name
            if let place = groups.firstIndex(where: { $0.name == name }) {
                groups[place].members.append((feature, category))
            } else {
                groups.append((name, [(feature, category)]))
            }
        }
        for (name, members) in groups {
            let encoder = CategoryEncoder(
                members.map { feature, category in
                    let rows = rows(of: feature.entity)
                    let texts = rows.text(category.column)
                    var counts = [Int](repeating: 0, count: texts.values.count)
                    for row in 0..<rows.count where texts.codes[row] >= 0 {
                        counts[Int(texts.codes[row])] += rows.weight(row)
                    }
                    return .init(category: category, texts: texts.values, counts: counts)
                }
            )
            result.dictionaries[name] = encoder.values
            for ((feature, category), lists) in zip(members, encoder.codes) {
                let codes = rows(of: feature.entity).text(category.column).codes
                var column = Schema.Column(
                    feature.name,
                    of: feature.entity,
                    .category,
                    cardinality: encoder.cardinality,
                    isList: category.separator != nil
                )
                column.vocabulary = name
                let buckets = members[0].1.hashBuckets
                column.hashBuckets = buckets > 0 ? buckets : nil
                result.columns.append(
                    FeatureColumn(
                        column: column,
                        values: category.separator != nil
                            ? .lists(lists) { Int(codes[$0]) }
                            : .codes { row in
                                codes[row] < 0 ? Code.missing : lists.codes[Int(codes[row])]
                            }
                    )
                )
            }
        }
    }

    private func bucket(_ feature: Feature, _ name: String, _ boundaries: [Float]) -> FeatureColumn
    {
        let numbers = rows(of: feature.entity).number(name)
        let first = Code.first(hashBuckets: 0)
        var column = Schema.Column(
            feature.name,
            of: feature.entity,
            .category,
            cardinality: Int(first) + boundaries.count + 1
        )
        column.boundaries = boundaries
        return FeatureColumn(
            column: column,
            values: .codes { row in
                let number = numbers[row]
                if number.isNaN { return Code.missing }
                return first + Int32(boundaries.firstIndex { number < $0 } ?? boundaries.count)
            }
        )
    }

    // MARK: numbers

    private func number(
        _ feature: Feature,
        _ scaling: Feature.Scaling,
        _ rows: FeatureRows,
        _ value: @escaping (Int) -> Float
    ) -> FeatureColumn {
        let fit = NumberFit(scaling, rows: rows.count, value, weight: rows.weight)
        var column = Schema.Column(feature.name, of: feature.entity, .number)
        column.fit = fit
        return FeatureColumn(column: column, values: .numbers { fit.x(of: value($0)) })
    }

    private func timeParts(
        _ feature: Feature,
        _ part: Feature.TimePart,
        _ zone: String
    ) throws(PredictorError) -> [FeatureColumn] {
        let clock = try LocalClock(zone)
        let times = times
        func column(_ suffix: String, _ curve: @escaping (Double) -> Float) -> FeatureColumn {
            FeatureColumn(
                column: Schema.Column("\(feature.name)_\(suffix)", of: .events, .number),
                values: .numbers { curve(clock.share(of: part, times[$0])) }
            )
        }
        return [column("sin", LocalClock.sine), column("cos", LocalClock.cosine)]
    }

    private func age(_ feature: Feature, _ scaling: Feature.Scaling) -> FeatureColumn {
        // Of all events, those of the test too: the first event of an item is in the past of all
        // its others, so nobody learns anything of later.
        var first = [Int64](repeating: .max, count: items.count)
        for event in 0..<events.count {
            let item = Int(itemOfEvent(event))
            first[item] = min(first[item], times[event])
        }
        let day = Float(86_400 * Timestamp.second)
        return number(feature, scaling, events) { [times, itemOfEvent] event in
            Float(times[event] - first[Int(itemOfEvent(event))]) / day
        }
    }

    // MARK: over groups

    private func statistic(
        _ feature: Feature,
        _ statistic: Feature.Statistic,
        _ column: String?,
        _ scaling: Feature.Scaling
    ) -> FeatureColumn {
        let rows = rows(of: feature.entity)
        let owner = feature.entity == .users ? userOfEvent : itemOfEvent
        let numbers = column.map { events.number($0) }
        var groups = [GroupStatistics](repeating: GroupStatistics(), count: rows.count)
        for event in 0..<events.count where events.weight(event) > 0 {
            groups[Int(owner(event))].add(numbers.map { $0[event] } ?? 0)
        }
        return number(feature, scaling, rows) { groups[$0].value(of: statistic) }
    }

    private func encode(
        _ feature: Feature,
        _ target: Feature.TargetEncoding,
        by columns: [FeatureColumn]
    ) -> FeatureColumn {
        let group: (Int) -> Int32
        let count: Int
        switch target.by {
        case "user": (group, count) = (userOfEvent, users.count)
        case "item": (group, count) = (itemOfEvent, items.count)
        default:
            guard let column = columns.first(where: { $0.column.name == target.by }),
                case .codes(let code) = column.values, let cardinality = column.column.cardinality
            else { preconditionFailure("settings were checked: \(target.by) is a category") }
            count = cardinality
            switch column.column.entity {
            case .events: group = code
            case .users: group = { [userOfEvent] in code(Int(userOfEvent($0))) }
            case .items: group = { [itemOfEvent] in code(Int(itemOfEvent($0))) }
            }
        }
        let encoder = TargetEncoder(target, events, groups: count, group)
        return FeatureColumn(
            column: Schema.Column(feature.name, of: .events, .number),
            values: .numbers { encoder.value(ofEvent: $0) }
        )
    }
}

extension FeatureRows {
    fileprivate func text(_ column: String) -> Texts {
        guard let texts = texts[column] else { preconditionFailure("\(column) was not read") }
        return texts
    }

    fileprivate func number(_ column: String) -> Spool<Float> {
        guard let numbers = numbers[column] else { preconditionFailure("\(column) was not read") }
        return numbers
    }
}
