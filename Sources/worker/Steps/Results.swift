// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Jobs
import Predictor

// What each kind of job hands to the jobs after it, as JSON in Postgres.

struct PrepareResult: Codable, Sendable {
    let dataset: String
    let users: Int
    let items: Int
    let events: Int
    let read: ReadReport
}

struct TrainResult: Codable, Sendable {
    let model: String
    /// Items that the model has a vector for.
    let items: Int
}

struct CheckResult: Codable, Sendable {
    let report: EvaluationReport
    /// The lengths of lists that were measured, shortest first.
    let ks: [Int]
}

struct PredictResult: Codable, Sendable {
    let release: Int
    let shards: Int
}

struct ShardResult: Codable, Sendable {
    /// Lists written.
    let lists: Int
    /// Items in all of them.
    let entries: Int
    let bytes: Int
    /// Ids that the model knows nothing about; items among them got no list.
    let cold: Int
    let samples: [Sample]

    /// A list that `publish` reads back.
    struct Sample: Codable, Sendable {
        let index: Int
        let fingerprint: Fingerprint
    }
}

struct PublishResult: Codable, Sendable {
    let release: Int
    let lists: Int
    let bytes: Int
    let cold: Int
}

extension JobResult {
    init(_ result: some Encodable, fanOut: FanOut? = nil) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        self.init(String(decoding: try encoder.encode(result), as: UTF8.self), fanOut: fanOut)
    }
}

/// The results of a run's finished jobs.
struct RunResults {
    private let results: [String: String]

    init(_ results: [String: String]) { self.results = results }

    func get<T: Decodable>(_ name: String, _ type: T.Type = T.self) throws -> T {
        guard let text = results[name] else {
            throw FatalJobError("the run has no result of its job \"\(name)\"")
        }
        return try JSONDecoder().decode(type, from: Data(text.utf8))
    }
}
