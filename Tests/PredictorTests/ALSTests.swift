// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Tables
import Testing

@testable import Predictor

struct ALSTests {
    private func matrix(_ rows: Int, _ columns: Int, _ generator: inout SeededGenerator) -> Matrix {
        Matrix(
            rows: rows,
            columns: columns,
            values: (0..<rows * columns).map { _ in generator.unitFloat() * 2 - 1 }
        )
    }

    /// The plain twin: the equations in double precision, by Gauss with pivots.
    private func plain(_ y: Matrix, _ had: [Ratings.Entry], _ foldIn: FoldIn) -> [Double] {
        let size = y.columns
        var a = [[Double]](repeating: [Double](repeating: 0, count: size + 1), count: size)
        for row in 0..<y.rows {
            let weight = had.first { $0.column == Int32(row) }?.weight
            let confidence = 1 + Double(foldIn.alpha) * Double(weight ?? 0)
            let v = y[row: row].map { Double($0) }
            for i in 0..<size {
                for j in 0..<size { a[i][j] += confidence * v[i] * v[j] }
                if weight != nil { a[i][size] += confidence * v[i] }
            }
        }
        for i in 0..<size { a[i][i] += Double(foldIn.regularization) }
        for i in 0..<size {
            let pivot = (i..<size).max { abs(a[$0][i]) < abs(a[$1][i]) } ?? i
            a.swapAt(i, pivot)
            for j in 0..<size where j != i {
                let factor = a[j][i] / a[i][i]
                for c in i...size { a[j][c] -= factor * a[i][c] }
            }
        }
        return (0..<size).map { a[$0][size] / a[$0][$0] }
    }

    @Test(arguments: [(5, 1, 2), (30, 7, 5), (1500, 20, 1300), (64, 64, 3)])
    func `a vector solves its equations`(_ rows: Int, _ size: Int, _ had: Int) throws {
        var generator = SeededGenerator(seed: rows)
        let y = matrix(rows, size, &generator)
        let foldIn = FoldIn(regularization: 0.5, alpha: 3)
        let entries = (0..<had).map {
            Ratings.Entry(column: Int32($0), weight: Float(1 + generator.index(below: 4)))
        }
        let solver = try FoldInSolver(y, foldIn)
        var scratch = FoldInSolver.Scratch(size)
        let found = try solver.solve(entries[...], &scratch)
        for (a, b) in zip(found, plain(y, entries, foldIn)) {
            #expect(abs(Double(a) - b) < 1e-4 * (1 + abs(b)))
        }
        #expect(try solver.solve([], &scratch) == [Float](repeating: 0, count: size))
    }

    @Test func `equations without a single solution are an error with a cure`() throws {
        let zeros = Matrix(rows: 3, columns: 2, values: [Float](repeating: 0, count: 6))
        let solver = try FoldInSolver(zeros, FoldIn(regularization: 0, alpha: 1))
        var scratch = FoldInSolver.Scratch(2)
        let error = #expect(throws: PredictorError.self) {
            _ = try solver.solve([Ratings.Entry(column: 0, weight: 1)], &scratch)
        }
        #expect("\(try #require(error))".contains("regularization"))
    }

    @Test func `ratings are summed, sorted, and turned`() {
        let entries = Ratings.summed([(3, 1), (1, 2), (3, 0.5)])
        #expect(
            entries == [
                Ratings.Entry(column: 1, weight: 2), Ratings.Entry(column: 3, weight: 1.5),
            ]
        )
    }

    private func dataset(users: Int = 40) throws -> Dataset {
        let folder = try TemporaryFolder()
        let path = try folder.write(Checkerboard.csv(users: users), to: "events.csv")
        return try Checkerboard.settings(path).built().dataset
    }

    /// Hu, Koren, Volinsky 2008, equation 3, with the best vectors of all users.
    private func loss(_ model: RetrievalModel, _ dataset: Dataset, _ settings: ALSSettings) throws
        -> Double
    {
        let ratings = Ratings(dataset, on: .all, model.items.map { Int($0) })
        let solver = try FoldInSolver(model.vectors, FoldIn(settings))
        var scratch = FoldInSolver.Scratch(settings.factors)
        func square(_ v: some Sequence<Float>) -> Double {
            v.reduce(0) { $0 + Double($1) * Double($1) }
        }
        var loss = settings.regularization * square(model.vectors.values)
        for user in 0..<ratings.rows {
            let x = try solver.solve(ratings.entries(user), &scratch)
            loss += settings.regularization * square(x)
            for row in 0..<model.vectors.rows {
                let weight = ratings.entries(user).first { $0.column == Int32(row) }?.weight
                var score = 0.0
                for (a, b) in zip(x, model.vectors[row: row]) { score += Double(a) * Double(b) }
                let miss = (weight == nil ? 0 : 1) - score
                loss += (1 + settings.alpha * Double(weight ?? 0)) * miss * miss
            }
        }
        return loss
    }

    @Test func `every iteration lowers the loss, and threads change nothing`() throws {
        let dataset = try dataset()
        var settings = ALSSettings()
        settings.factors = 4
        settings.alpha = 5
        var losses: [Double] = []
        for iterations in [1, 2, 4, 8] {
            settings.iterations = iterations
            losses.append(try loss(ALS.train(dataset, on: .all, settings), dataset, settings))
        }
        #expect(zip(losses, losses.dropFirst()).allSatisfy { $0 > $1 - 1e-4 * $0 })
        #expect(try #require(losses.last) < 0.9 * losses[0])
        let one = try ALS.train(dataset, on: .all, settings)
        settings.threads = 3
        #expect(try ALS.train(dataset, on: .all, settings).vectors == one.vectors)
        settings.seed = 2
        #expect(try ALS.train(dataset, on: .all, settings).vectors != one.vectors)
    }

    @Test func `it tells how far it is, and stops when told to`() throws {
        let dataset = try dataset()
        var settings = ALSSettings()
        settings.factors = 2
        settings.iterations = 3
        var shares: [Double] = []
        _ = try ALS.train(dataset, on: .all, settings) { shares.append($0.fraction) }
        #expect(shares.count == 6 && shares == shares.sorted() && shares.last == 1)
        struct Stop: Error {}
        #expect(throws: Stop.self) {
            _ = try ALS.train(dataset, on: .all, settings) { _ in throw Stop() }
        }
    }

    @Test func `nothing to learn from is an error`() throws {
        let dataset = try dataset()
        #expect(throws: PredictorError.self) {
            _ = try ALS.train(dataset, on: [], ALSSettings())
        }
    }
}
