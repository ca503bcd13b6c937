// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import TestSupport
import Testing

@testable import Predictor

/// Beside HuggingFace's XLNet with the weights of the same start.
struct Transformers4RecTests {
    /// All as Tests/transformers4rec_sessions.py has it, and prints it.
    private struct Twin {
        let dataset: Dataset
        let items: [Int32]
        let learner: SessionLearner
        /// Where a row of ours is there, by the names of our tables.
        let rows: [String: [Int]]

        init(_ dataset: Dataset, _ change: (inout SessionTransformerSettings) -> Void) throws {
            self.dataset = dataset
            let items = try (0..<24).map {
                Int32(try #require(dataset.items.index(of: "i\($0)")))
            }
            self.items = items
            var settings = SessionTransformerSettings.transformers4Rec
            settings.width = 8
            settings.heads = 2
            settings.inner = 12
            settings.length = 6
            settings.dropout = 0
            change(&settings)
            learner = try SessionLearner(dataset, on: .all, settings, validates: false)
            let column = try #require(dataset.schema.columns.first { $0.name == "group" })
            guard case .codes(let codes) = try dataset.values(of: column) else {
                throw PredictorError.input("no codes")
            }
            let rows = [
                "items": [0, 1, 2] + items.map { Int($0) + 3 },
                "category.group": [0, 1, 2] + (0..<4).map { Int(codes[Int(items[$0])]) },
            ]
            self.rows = rows
            for (number, (name, parameter)) in learner.parameters.enumerated() {
                let kind = name.split(separator: ".").last ?? ""
                let (scale, middle): (Float, Float) =
                    kind == "gain"
                    ? (0.5, 1)
                    : kind == "bias" || kind == "shift" || kind.hasSuffix("-bias")
                        ? (0.5, 0)
                        : (1.6, 0)
                var values = [Float](repeating: 0, count: parameter.values.count)
                for place in values.indices {
                    let value = (Float((place * 31 + number * 17) % 97) / 97 - 0.5) * scale
                    values[Self.there(rows[name], place, parameter.columns)] = value + middle
                }
                parameter.values.fill(values)
            }
        }

        /// Where the place of a table there is in ours.
        private static func there(_ rows: [Int]?, _ place: Int, _ columns: Int) -> Int {
            guard let rows else { return place }
            return rows[place / columns] * columns + place % columns
        }

        func there(_ name: String, _ place: Int, _ columns: Int) -> Int {
            Self.there(rows[name], place, columns)
        }

        func examples(_ step: Int) -> SessionExamples {
            var examples = SessionExamples(
                learner.settings,
                learner.columns,
                isMet: learner.isMet
            )
            for session in 0..<5 {
                let items = (0..<2 + (step + session) % 5).map { place in
                    self.items[(step * 7 + session * 5 + place * 3) % 24]
                }
                examples.append(
                    items: items[...],
                    events: [],
                    masked: [Int32((step + session) % 2)]
                )
            }
            return examples
        }
    }

    private static let vectors: [Float] = [
        0.0003717, 1.0349391, -0.0866325, -0.6823283, 1.6320468, -0.6921449, -1.3454888, 0.5600936,
        0.3159025, 0.4827497, 0.3048916, -0.9482168, 1.5336359, -0.1222391, -1.541532, 0.5726731,
        -0.0281912, 0.9403372, -0.2732052, -0.5538372, 1.7129509, -0.89039, -1.2303951, 0.6342728,
        -0.1117238, 0.9268568, 0.1694255, -0.7411222, 1.6727608, -0.4842702, -1.4294925, 0.537476,
        0.2322998, 0.5320939, 0.4106422, -1.0819304, 1.4175875, 0.0746721, -1.546157, 0.6452265,
    ]
    /// Of each gradient its length, the sum, and a sum that sees the order.
    private static let gradients: [String: [Double]] = [
        "items": [1.23714757, 1.22802472, 2.56175995],
        "category.group": [0.96519887, -1.08037555, -1.09570503],
        "continuous.weight": [0.10308019, 0.00047942, -0.23646402],
        "mask": [0.26907396, -0.08701387, 0.30482528],
        "projection.0.bias": [0.68347168, -0.43875125, -0.38204402],
        "layer.0.attention.query.weight": [0.56812686, -0.02789906, -0.22630087],
        "layer.0.attention.position.weight": [0.10033927, 0.17579293, -0.03185852],
        "layer.0.attention.content-bias": [0.17791437, 0.04296649, -0.23318891],
        "layer.0.attention.position-bias": [0.07514878, -0.04634251, -0.13887000],
        "layer.1.attention.output.weight": [0.98254633, 0.00000018, -0.62659872],
        "layer.0.first.bias": [0.27518961, 0.16958740, 0.26026705],
        "layer.1.norm.gain": [0.53110087, 1.29674518, 0.07956362],
    ]
    private static let losses: [Double] = [
        4.007288, 4.313853, 4.412426, 3.723664, 3.610927, 3.977446, 3.652484, 3.767304,
        3.382617, 3.308429,
    ]

    @Test(arguments: [1, 2])
    func `compat transformers4rec has the vectors, gradients and losses of its model`(
        _ threads: Int
    ) throws {
        let dataset = try Sessions.dataset()
        let twin = try Twin(dataset) {
            $0.threads = threads
            // What a weight loses at a step is its gradient.
            $0.optimiser.kind = .sgd
            $0.optimiser.learningRate = 1
            $0.optimiser.schedule = .constant
            $0.optimiser.clip = 0
        }
        let examples = twin.examples(0)
        let found = twin.learner.network.forward(
            examples.tokens,
            examples.selected,
            hidden: examples.hidden
        ).values
        #expect(zip(found, Self.vectors).allSatisfy { abs($0 - $1) < 1e-5 })
        let before = twin.learner.parameters.map(\.parameter.values.values)
        _ = try twin.learner.learn(examples, step: 0, of: 1)
        var compared = 0
        for (before, (name, parameter)) in zip(before, twin.learner.parameters) {
            guard let wanted = Self.gradients[name] else { continue }
            compared += 1
            var sums = [0.0, 0.0, 0.0]
            let after = parameter.values.values
            for place in before.indices {
                let own = twin.there(name, place, parameter.columns)
                let slope = Double(before[own] - after[own])
                sums[0] += slope * slope
                sums[1] += slope
                sums[2] += slope * Double((place + 1) % 7 - 3)
            }
            sums[0] = sums[0].squareRoot()
            for (a, b) in zip(sums, wanted) { #expect(abs(a - b) < 1e-4 * (1 + abs(b)), "\(name)") }
        }
        #expect(compared == Self.gradients.count)
    }

    @Test func `ten steps of training have the losses of Transformers4Rec's model`() throws {
        let twin = try Twin(try Sessions.dataset()) {
            $0.optimiser.learningRate = 0.01
            $0.optimiser.schedule = .constant
        }
        for (step, wanted) in Self.losses.enumerated() {
            let loss = try twin.learner.learn(twin.examples(step), step: step, of: 10)
            #expect(abs(loss - wanted) < 1e-3, "step \(step)")
        }
    }
}
