// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs

struct QueuesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queues",
        abstract: "List queues, pause, resume or limit one.",
        subcommands: [List.self, Pause.self, Resume.self, Limit.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List queues: what waits, what runs, and how old the oldest ready job is."
        )
        @Flag(help: "Show them again every second, until stopped.") var follow = false
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await Output.show(follow: follow) {
                    let queues = try await services.queue.states()
                    if stores.json { return try JSON.text(queues) }
                    return Output.tableText(
                        [
                            "queue", "ready", "oldest", "running", "limit", "scheduled", "waiting",
                            "alone", "",
                        ],
                        queues.map {
                            [
                                $0.queue, String($0.ready),
                                $0.ready == 0 ? "" : Output.seconds($0.oldestReadySeconds),
                                String($0.running), $0.maxRunning.map { String($0) } ?? "",
                                String($0.scheduled), String($0.waiting), String($0.quarantined),
                                $0.isPaused ? "paused" : "",
                            ]
                        }
                    )
                }
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Let no worker take jobs of a queue; those that run go on."
        )
        @Argument(help: "The queue.") var queue: String
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.pause(queue)
                if !stores.json { print("queue \(queue) is paused") }
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "End the pause of a queue.")
        @Argument(help: "The queue.") var queue: String
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.resume(queue)
                if !stores.json { print("queue \(queue) goes on") }
            }
        }
    }

    struct Limit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Set how many jobs of a queue may run at a time, over all workers.",
            discussion: """
                A limit makes every claim wait for the one before it: use it on queues of long jobs.
                """
        )
        @Argument(help: "The queue.") var queue: String
        @Argument(help: "How many, or \"none\".") var count: Count
        @OptionGroup var stores: StoreOptions

        struct Count: ExpressibleByArgument {
            let value: Int?

            init?(argument: String) {
                if argument == "none" {
                    value = nil
                } else if let number = Int(argument), number > 0, number <= Int(Int32.max) {
                    value = number
                } else {
                    return nil
                }
            }
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.limit(queue, to: count.value)
                if !stores.json {
                    print(
                        count.value.map { "at most \($0) jobs of queue \(queue) run at a time" }
                            ?? "queue \(queue) has no limit"
                    )
                }
            }
        }
    }
}
