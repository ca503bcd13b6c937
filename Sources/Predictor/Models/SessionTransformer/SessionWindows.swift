// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Tables

/// Sessions that begin in the same stretch of time: what a model that had not seen them found, and
/// that it then learned from them.
package struct WindowReport: Sendable, Codable, Equatable {
    /// How well the last item of each session was found among all items.
    package struct Found: Sendable, Codable, Equatable {
        /// Natural logarithms; of sessions whose items were all met before, nil where there is none.
        package var loss: Double?
        package var ndcg: Double
        package var recall: Double
        /// Of the items that were the most popular until then.
        package var popularityNDCG: Double
        package var popularityRecall: Double
    }

    /// The length of lists.
    package static let k = 20

    /// Seconds since 1970.
    package var start: Int
    /// Those of two events or more.
    package var sessions: Int
    /// Nil of the first window.
    package var found: Found?
}

/// A training that goes from window to window, measured on each before it learns from it.
struct SessionWindows {
    private let dataset: Dataset
    private let parts: Set<Part>
    private let settings: SessionTransformerSettings
    private let learner: SessionLearner
    private let windows: [Dataset.Window]

    init(
        _ dataset: Dataset,
        on parts: Set<Part>,
        _ settings: SessionTransformerSettings,
        of seconds: Int,
        after until: Int64?,
        _ learner: SessionLearner
    ) {
        self.dataset = dataset
        self.parts = parts
        self.settings = settings
        self.learner = learner
        let wanted = Set(dataset.sequences(in: parts, ofAtLeast: 2).map { Int($0) })
        windows = dataset.windows(of: seconds).compactMap { window in
            let sequences = window.sequences.filter { sequence in
                let start = dataset.eventTimes[dataset.events(ofSequence: sequence).lowerBound]
                return wanted.contains(sequence) && until.map { start > $0 } ?? true
            }
            // A day without sessions teaches nothing, and is no error.
            return sequences.isEmpty
                ? nil : Dataset.Window(start: window.start, sequences: sequences)
        }
    }

    /// From the start, or from the state in a folder.
    ///
    /// Where there is no new window, nothing is learned.
    func run(
        from folder: String?,
        progress: (TrainingProgress) throws -> Void,
        stop: () throws -> Void
    ) throws -> TrainingOutcome {
        let earlier = learner.walk.steps
        if let folder { try learner.resume(from: folder) }
        let isLater = earlier > 0
        var device: String?
        let first = learner.walk.reports.isEmpty ? 0 : learner.walk.reports.count - 1
        guard first < max(1, windows.count) else {
            throw PredictorError.input("the state is of a training with more windows")
        }
        for window in windows[..<first] { learner.meet(window.sequences, of: dataset) }
        for (place, window) in windows.enumerated().dropFirst(first) {
            // Of a state in the middle of a window, that was done before.
            if place == learner.walk.reports.count {
                let found = place == 0 && !isLater ? nil : try measure(window.sequences, stop)
                learner.walk.reports.append(
                    WindowReport(
                        start: window.start,
                        sessions: window.sequences.count,
                        found: found
                    )
                )
            }
            learner.meet(window.sequences, of: dataset)
            let outcome = try TrainingLoop(
                learner,
                dataset,
                SessionTransformer.examples(window.sequences.map { Int32($0) }, settings, parts),
                settings.training
            )
            .run(
                from: place == first ? folder : nil,
                progress: { step in
                    var step = step
                    step.enter(window: place, of: windows.count, learner.walk)
                    try progress(step)
                },
                stop: stop
            )
            learner.walk.steps += outcome.steps
            device = outcome.device ?? device
        }
        let learned = learner.walk.steps - earlier
        return TrainingOutcome(
            steps: learned,
            stepsOfEpoch: max(1, learned / settings.training.epochs),
            windows: learner.walk.reports,
            device: device
        )
    }

    /// Finds the last item of each of these sessions, with what was learned until now.
    private func measure(_ sequences: [Int], _ stop: () throws -> Void) throws
        -> WindowReport.Found
    {
        var (queries, truths): ([Query], [Set<Int32>]) = ([], [])
        for sequence in sequences {
            let events = dataset.events(ofSequence: sequence, in: parts)
            queries.append(Query(user: nil, events: events.dropLast(), of: dataset))
            truths.append([dataset.eventItems[events[events.count - 1]]])
        }
        let popular = Popularity.model(learner.counts.map { Double($0) })
        let rules = ListRules(k: WindowReport.k, excludesSeen: false)
        func scores(_ model: any Recommender) throws -> (ndcg: Double, recall: Double) {
            let ranker = try Ranker(model, fallback: popular, rules, on: learner.gpu)
            let lists = try ranker.lists(for: queries) { _ in try stop() }
            let scores = zip(lists, truths).map {
                ListScore($0.items, truth: $1, k: WindowReport.k)
            }
            let count = Double(scores.count)
            return (
                scores.reduce(0) { $0 + $1.ndcg } / count,
                scores.reduce(0) { $0 + $1.recall } / count
            )
        }
        let (own, theirs) = (try scores(learner.model()), try scores(popular))
        return WindowReport.Found(
            loss: learner.loss(of: queries, truths.compactMap(\.first)),
            ndcg: own.ndcg,
            recall: own.recall,
            popularityNDCG: theirs.ndcg,
            popularityRecall: theirs.recall
        )
    }
}

/// How far a training over windows has come.
struct SessionWalk: Codable, Equatable {
    /// Of the windows before this one.
    var steps = 0
    /// Of the windows so far, this one included.
    var reports: [WindowReport] = []
}

extension SessionWalk {
    var tensor: Tensor {
        let json = stableJSON(self)
        return .uint8(json, shape: [json.count])
    }

    init(_ bytes: [UInt8]) throws(PredictorError) {
        do { self = try JSONDecoder().decode(SessionWalk.self, from: Data(bytes)) } catch {
            throw .input("the state's windows cannot be read: \(error)")
        }
    }
}
