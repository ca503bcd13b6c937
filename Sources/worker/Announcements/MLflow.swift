// SPDX-License-Identifier: Apache-2.0
import Foundation
import Transfer

/// A tracking server of MLflow, by its REST API 2.0.
///
/// Credentials are where MLflow's own clients look for them: MLFLOW_TRACKING_TOKEN, or
/// MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.
struct MLflow {
    private let server: String
    private let authorization: String?
    private let timeout: Int
    private let check: HTTP.Check

    /// What MLflow accepts in one request (`log-batch`), and of one value.
    static let mostMetrics = 1000
    static let mostParameters = 100
    static let longestParameter = 6000
    static let longestName = 250

    /// `timeout`: seconds that a request may take.
    init(
        _ server: String,
        environment: [String: String],
        timeout: Int,
        check: @escaping HTTP.Check
    ) {
        self.server = server.hasSuffix("/") ? String(server.dropLast()) : server
        self.timeout = timeout
        self.check = check
        func variable(_ name: String) -> String? {
            environment[name].flatMap { $0.isEmpty ? nil : $0 }
        }
        if let token = variable("MLFLOW_TRACKING_TOKEN") {
            authorization = "Bearer \(token)"
        } else if let name = variable("MLFLOW_TRACKING_USERNAME") {
            let password = environment["MLFLOW_TRACKING_PASSWORD"] ?? ""
            authorization = "Basic " + Data("\(name):\(password)".utf8).base64EncodedString()
        } else {
            authorization = nil
        }
    }

    struct Tag: Codable {
        let key: String
        let value: String
    }

    struct Metric: Encodable {
        let key: String
        let value: Double
        /// Milliseconds since 1970.
        let timestamp: Int
        let step: Int
    }

    /// What is known of a run there.
    struct Run: Codable {
        let id: String
        /// Where it keeps its files, an address of MLflow's.
        let artifacts: String
    }

    struct FoundRun {
        let run: Run
        let tags: [String: String]
        let hasParameters: Bool
    }

    enum Status: String, Encodable {
        case running = "RUNNING"
        case finished = "FINISHED"
        case failed = "FAILED"
        case killed = "KILLED"
    }

    /// For people.
    func address(of run: Run, _ experiment: String) -> String {
        "\(server)/#/experiments/\(experiment)/runs/\(run.id)"
    }

    // MARK: experiments and runs

    /// The experiment of this name, made where there is none.
    func experiment(_ name: String) throws -> String {
        struct Found: Decodable {
            struct Experiment: Decodable { let experimentId: String }
            let experiment: Experiment
        }
        struct Made: Decodable { let experimentId: String }
        let query = name.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? name
        let path = "experiments/get-by-name?experiment_name=\(query)"
        if let found: Found = try find(path) { return found.experiment.experimentId }
        do {
            let made: Made = try post("experiments/create", ["name": name])
            return made.experimentId
        } catch {
            // Another run may have been faster.
            guard let found: Found = try find(path) else { throw error }
            return found.experiment.experimentId
        }
    }

    private struct RunAnswer: Decodable {
        struct Info: Decodable {
            let runId: String
            let artifactUri: String?
        }
        struct Contents: Decodable {
            let tags: [Tag]?
            let params: [Tag]?
        }
        let info: Info
        let data: Contents?

        var run: Run { Run(id: info.runId, artifacts: info.artifactUri ?? "") }

        var found: FoundRun {
            FoundRun(
                run: run,
                tags: Dictionary((data?.tags ?? []).map { ($0.key, $0.value) }) { first, _ in first
                },
                hasParameters: !(data?.params ?? []).isEmpty
            )
        }
    }

    /// Runs that have all of these tags; one that was deleted there is none.
    func runs(in experiment: String, having tags: [String: String]) throws -> [FoundRun] {
        struct Search: Encodable {
            let experimentIds: [String]
            let filter: String
            let maxResults = 1000
            let pageToken: String?
        }
        struct Found: Decodable {
            let runs: [RunAnswer]?
            let nextPageToken: String?
        }
        let filter = tags.sorted { $0.key < $1.key }
            .map { "tags.`\($0.key)` = '\($0.value)'" }.joined(separator: " and ")
        var found: [FoundRun] = []
        var page: String?
        repeat {
            let search = Search(experimentIds: [experiment], filter: filter, pageToken: page)
            let answer: Found = try post("runs/search", search)
            found += (answer.runs ?? []).map(\.found)
            page = answer.nextPageToken.flatMap { $0.isEmpty ? nil : $0 }
        } while page != nil
        return found
    }

    func start(_ name: String, in experiment: String, at time: Int, tags: [Tag]) throws -> Run {
        struct Start: Encodable {
            let experimentId: String
            let runName: String
            let startTime: Int
            let tags: [Tag]
        }
        struct Started: Decodable { let run: RunAnswer }
        let start = Start(
            experimentId: experiment,
            runName: String(name.prefix(Self.longestName)),
            startTime: time,
            tags: tags
        )
        let answer: Started = try post("runs/create", start)
        return answer.run.run
    }

    /// `end`: milliseconds since 1970.
    func update(_ run: Run, _ status: Status, end: Int?) throws {
        struct Update: Encodable {
            let runId: String
            let status: Status
            let endTime: Int?
        }
        let _: Nothing = try post(
            "runs/update",
            Update(runId: run.id, status: status, endTime: end)
        )
    }

    /// What is there already with the same time stays as it is.
    func log(
        _ run: Run,
        metrics: [Metric] = [],
        parameters: [String: String] = [:],
        tags: [Tag] = []
    ) throws {
        struct Batch: Encodable {
            let runId: String
            var metrics: [Metric] = []
            var params: [Tag] = []
            var tags: [Tag] = []
        }
        func send(_ batch: Batch) throws { let _: Nothing = try post("runs/log-batch", batch) }
        for start in stride(from: 0, to: metrics.count, by: Self.mostMetrics) {
            let end = min(start + Self.mostMetrics, metrics.count)
            try send(Batch(runId: run.id, metrics: Array(metrics[start..<end])))
        }
        let all = parameters.sorted { $0.key < $1.key }.map { name, value in
            Tag(key: name, value: String(value.prefix(Self.longestParameter)))
        }
        for start in stride(from: 0, to: all.count, by: Self.mostParameters) {
            let end = min(start + Self.mostParameters, all.count)
            try send(Batch(runId: run.id, params: Array(all[start..<end])))
        }
        if !tags.isEmpty { try send(Batch(runId: run.id, tags: tags)) }
    }

    /// False where the server does not hand files on to where the run keeps them.
    func upload(_ text: String, as name: String, type: String, to run: Run) throws -> Bool {
        guard let place = URL(string: run.artifacts), place.scheme == "mlflow-artifacts" else {
            return false
        }
        let path = place.path.split(separator: "/").joined(separator: "/")
        _ = try perform(
            "PUT",
            "mlflow-artifacts/artifacts/\(path)/\(name)",
            Array(text.utf8),
            type: type
        )
        return true
    }

    // MARK: requests

    private struct Nothing: Decodable {}

    private func find<T: Decodable>(_ path: String) throws -> T? {
        let response = try send("GET", "mlflow/" + path, [], type: nil)
        if response.status == 404 { return nil }
        return try decode(accepted(response))
    }

    private func post<T: Decodable>(_ path: String, _ body: some Encodable) throws -> T {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        // As protobuf has them in JSON.
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "Infinity",
            negativeInfinity: "-Infinity",
            nan: "NaN"
        )
        let json = Array(try encoder.encode(body))
        return try decode(perform("POST", "mlflow/" + path, json, type: "application/json"))
    }

    private func decode<T: Decodable>(_ response: HTTPResponse) throws -> T {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(T.self, from: Data(response.body))
        } catch {
            throw TransferError.refused(
                name,
                "does not answer as MLflow's REST API does",
                hint: "track: mlflow must be what MLFLOW_TRACKING_URI would be"
            )
        }
    }

    private func perform(
        _ method: String,
        _ path: String,
        _ body: [UInt8],
        type: String?
    ) throws -> HTTPResponse {
        try accepted(send(method, path, body, type: type))
    }

    private func send(
        _ method: String,
        _ path: String,
        _ body: [UInt8],
        type: String?
    ) throws -> HTTPResponse {
        var request = HTTPRequest(
            method,
            "\(server)/api/2.0/\(path)",
            body: body.isEmpty ? .none : .bytes(body),
            name: name
        )
        request.headers["Content-Type"] = type
        request.headers["Authorization"] = authorization
        request.timeout = timeout
        return try HTTP.once(request, check: check)
    }

    private var name: String { "MLflow at \(HTTP.host(of: server))" }

    private func accepted(_ response: HTTPResponse) throws -> HTTPResponse {
        guard !(200..<300).contains(response.status) else { return response }
        struct Problem: Decodable { let message: String }
        let problem = try? JSONDecoder().decode(Problem.self, from: Data(response.body))
        throw response.error(name, saying: problem?.message)
    }
}
