// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Jobs

struct SchedulesCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedules",
        abstract: "List what runs by the clock, set, pause, resume or remove it.",
        subcommands: [List.self, Set.self, Pause.self, Resume.self, Remove.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List schedules with the next five times of each."
        )
        @OptionGroup var stores: StoreOptions

        private struct Shown: Encodable {
            let schedule: Queue.Schedule
            let next: [Date]
        }

        func run() async throws {
            try await stores.withServices { services, _ in
                let shown = try await services.queue.schedules().map {
                    Shown(schedule: $0, next: SchedulesCommand.next($0))
                }
                if stores.json { return try Output.json(shown) }
                if shown.isEmpty {
                    return print("there are none; make one with: larder schedules set")
                }
                for item in shown { show(item) }
            }
        }

        private func show(_ item: Shown) {
            let schedule = item.schedule
            let pause = schedule.isPaused ? ", paused" : ""
            let last = schedule.lastJob.map { ", last job \($0)" } ?? ""
            print(
                "\(schedule.name): \(schedule.cron) \(schedule.zone), \(schedule.misfire.rawValue)\(pause)\(last)"
            )
            print("  \(schedule.kind) \(schedule.args) on queue \(schedule.queue)")
            if let error = schedule.error {
                return print("  it cannot run: " + error.replacing("\n", with: "\n  "))
            }
            if !item.next.isEmpty {
                print("  next: " + SchedulesCommand.text(item.next, schedule.zone))
            }
        }
    }

    struct Set: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Run a pipeline by the clock, as its `schedule:` says.",
            discussion: """
                The schedule has the name of the feed; setting it again changes it. The file is read \
                anew each time, by the worker that takes the job. Other kinds of jobs: \
                SELECT larder.set_schedule(name, cron, kind, args).
                """
        )
        @Argument(help: "The pipeline file.") var pipeline: String
        @Option(help: "Times that passed while no worker was up: skip, coalesce or catch-up.")
        var misfire: Queue.Misfire = .coalesce
        @Option(help: "The queue.") var queue = "default"
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            let parsed = try PipelineParser.parse(file: pipeline)
            guard let text = parsed.schedule else {
                throw SettingsError(
                    "\(pipeline) has no schedule\nhint: add one, like `schedule: \"0 3 * * *  Europe/Rome\"`"
                )
            }
            let (cron, zone) = Cron.split(text)
            let path = URL(filePath: pipeline).absoluteURL.standardized.path
            try await stores.withServices { services, _ in
                try await services.queue.setSchedule(
                    parsed.feed,
                    cron: cron,
                    zone: zone,
                    misfire: misfire,
                    kind: "run",
                    args: try JSON.text(["pipeline": path]),
                    queue: queue
                )
                let next = try SchedulesCommand.next(Cron(cron, zone: zone), from: Date())
                if stores.json { return try Output.json(["next": next]) }
                print("schedule \(parsed.feed) is set; next: " + SchedulesCommand.text(next, zone))
                if try await !services.queue.hasWorkers() {
                    print("no worker is up; start one with: larder worker")
                }
            }
        }
    }

    struct Pause: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let a schedule enqueue nothing.")
        @Argument(help: "The schedule.") var name: String
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.pauseSchedule(name)
                if !stores.json { print("schedule \(name) is paused") }
            }
        }
    }

    struct Resume: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End the pause of a schedule; what it missed is treated as its misfire says."
        )
        @Argument(help: "The schedule.") var name: String
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.resumeSchedule(name)
                if !stores.json { print("schedule \(name) goes on") }
            }
        }
    }

    struct Remove: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a schedule; jobs that it enqueued stay."
        )
        @Argument(help: "The schedule.") var name: String
        @OptionGroup var stores: StoreOptions

        func run() async throws {
            try await stores.withServices { services, _ in
                try await services.queue.removeSchedule(name)
                if !stores.json { print("schedule \(name) is removed") }
            }
        }
    }

    private static func next(_ schedule: Queue.Schedule) -> [Date] {
        guard !schedule.isPaused, let cron = try? Cron(schedule.cron, zone: schedule.zone) else {
            return []
        }
        // The time that stands in the table is the one that counts.
        guard let first = schedule.nextAt else { return next(cron, from: Date()) }
        return [first] + next(cron, from: first).prefix(4)
    }

    private static func next(_ cron: Cron, from start: Date) -> [Date] {
        var dates: [Date] = []
        var date = start
        while dates.count < 5, let due = cron.next(after: date) {
            dates.append(due)
            date = due
        }
        return dates
    }

    /// As clocks in the zone show them.
    private static func text(_ dates: [Date], _ zone: String) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: zone)
        formatter.dateFormat = "EEE yyyy-MM-dd HH:mm xxx"
        return dates.map { formatter.string(from: $0) }.joined(separator: ", ")
    }
}

extension Queue.Misfire: ExpressibleByArgument {}
