// SPDX-License-Identifier: Apache-2.0

/// Means of a target over groups, each training event's own fold left out.
struct TargetEncoder {
    private let settings: Feature.TargetEncoding
    private let events: FeatureRows
    private let group: (Int) -> Int32
    private let mean: Double
    /// groups × folds.
    private var sums: [Double]
    private var counts: [Int32]

    init(
        _ settings: Feature.TargetEncoding,
        _ events: FeatureRows,
        groups: Int,
        _ group: @escaping (Int) -> Int32
    ) {
        self.settings = settings
        self.events = events
        self.group = group
        sums = [Double](repeating: 0, count: groups * settings.folds)
        counts = [Int32](repeating: 0, count: groups * settings.folds)
        var sum = 0.0
        var count = 0
        guard let targets = events.numbers[settings.column] else {
            preconditionFailure("\(settings.column) was not read")
        }
        for event in 0..<events.count where events.weight(event) > 0 {
            let target = targets[event]
            guard target.isFinite else { continue }
            let place = Int(group(event)) * settings.folds + Self.fold(event, settings)
            sums[place] += Double(target)
            counts[place] += 1
            sum += Double(target)
            count += 1
        }
        mean = count > 0 ? sum / Double(count) : 0
    }

    func value(ofEvent event: Int) -> Float {
        let first = Int(group(event)) * settings.folds
        let own = events.weight(event) > 0 ? Self.fold(event, settings) : -1
        var sum = Double(settings.smoothing) * mean
        var count = Double(settings.smoothing)
        for fold in 0..<settings.folds where fold != own {
            sum += sums[first + fold]
            count += Double(counts[first + fold])
        }
        return Float(count > 0 ? sum / count : mean)
    }

    private static func fold(_ event: Int, _ settings: Feature.TargetEncoding) -> Int {
        var generator = SeededGenerator(seed: settings.seed, stream: event)
        return generator.index(below: settings.folds)
    }
}
