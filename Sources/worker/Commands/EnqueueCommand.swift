// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs

struct EnqueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enqueue",
        abstract: "Enqueue one job.",
        discussion: """
            The same from SQL, in your own transaction:

                SELECT larder.enqueue('run', '{"pipeline": "/path/to/pipeline.yaml"}');

            Kind `run` reads a pipeline file, on the worker that takes it, and starts its run.
            """
    )

    @Argument(help: "What to do: run.")
    var kind: String

    @Option(help: "Its arguments, a JSON object.")
    var args = "{}"

    @Option(help: "The queue.")
    var queue = "default"

    @Option(help: "Smaller numbers are taken first.")
    var priority = 100

    @Option(help: "Seconds to wait before it may be taken.")
    var delay: Int?

    @Option(help: "A name that only one live job can have; enqueueing it again returns that job.")
    var dedupKey: String?

    @Option(help: "A name of this request; repeated within a day it returns its job.")
    var idempotencyKey: String?

    @OptionGroup var stores: StoreOptions

    func validate() throws {
        guard (try? JSONSerialization.jsonObject(with: Data(args.utf8))) is [String: Any] else {
            throw ValidationError(
                "--args is '\(args)', but must be a JSON object, like '{\"a\": 1}'"
            )
        }
        guard Steps.standalone.contains(kind) else {
            throw ValidationError(
                "there is no kind \"\(kind)\" that can be enqueued alone; there is: "
                    + Steps.standalone.joined(separator: ", ")
            )
        }
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let id = try await services.queue.enqueue(
                kind,
                args: Self.absolute(args),
                queue: queue,
                priority: priority,
                delay: delay.map { .seconds($0) },
                dedupKey: dedupKey,
                idempotencyKey: idempotencyKey
            )
            if stores.json { try Output.json(["job": id]) } else { print("job \(id) is enqueued") }
        }
    }

    /// The worker that takes the job stands in another folder.
    private static func absolute(_ args: String) throws -> String {
        guard
            var object = try JSONSerialization.jsonObject(with: Data(args.utf8)) as? [String: Any],
            let path = object["pipeline"] as? String
        else { return args }
        object["pipeline"] = URL(filePath: path).absoluteURL.standardized.path
        return String(
            decoding: try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]),
            as: UTF8.self
        )
    }
}
