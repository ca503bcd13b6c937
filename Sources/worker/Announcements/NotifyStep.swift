// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Transfer

/// Sends a web-hook when a run has ended.
///
/// The queue tries again, with growing pauses, while the receiver answers with no success and there
/// are attempts left. All tries have one `webhook-id`: a receiver may get it more than once.
struct NotifyStep {
    private let services: Services
    private let job: Job
    private let context: JobContext

    init(_ services: Services, _ job: Job, _ context: JobContext) {
        self.services = services
        self.job = job
        self.context = context
    }

    struct Outcome: Codable {
        let receiver: String
        let event: RunEvent
        /// Nobody was told of an event that the hook does not ask for.
        let isSent: Bool
    }

    func run() async throws -> JobResult {
        let arguments = try AnnouncementArguments(of: job)
        let summary = try await RunSummary(arguments.run, services)
        let hooks = summary.pipeline?.notify ?? []
        guard let place = arguments.hook, hooks.indices.contains(place) else {
            throw FatalJobError("run \(arguments.run) has no such web-hook")
        }
        let hook = hooks[place]
        // Retried since it was announced: its next end will be told, by another.
        guard let event = RunEvent(summary),
            summary.announcements.contains(where: { $0.id == job.id })
        else { return JobResult(#"{"isSent":false}"#) }
        let receiver = "the web-hook at \(HTTP.host(of: hook.url))"
        let isAsked = hook.events.contains(event)
        if isAsked { try send(WebHook(event, summary, id: "larder_\(job.id)"), to: hook, receiver) }
        return try JobResult(Outcome(receiver: receiver, event: event, isSent: isAsked))
    }

    private func send(_ message: WebHook, to hook: Pipeline.Hook, _ name: String) throws {
        var request = HTTPRequest("POST", hook.url, body: .bytes(message.body), name: name)
        request.timeout = 20
        request.headers = message.headers(
            at: Int(Date.now.timeIntervalSince1970),
            secret: try hook.secret.map { variable in
                guard let secret = ProcessInfo.processInfo.environment[variable], !secret.isEmpty
                else {
                    throw SettingsError(
                        "\(name): \(variable), which has its secret, is not set where this worker runs"
                    )
                }
                return secret
            }
        )
        let response = try HTTP.once(request, check: { try context.checkStop() })
        if response.status == 410 {
            throw FatalJobError("\(name): the server answers 410: it wants no more of them")
        }
        // Whatever else it is may be mended there.
        guard (200..<300).contains(response.status) else {
            let meaning = HTTPResponse.meaning(response.status)
            throw TransferError.unreachable(name, "the server answers \(response.status)\(meaning)")
        }
    }
}

/// How a run ended, as web-hooks tell it.
enum RunEvent: String, Codable, CaseIterable, Sendable {
    case finished
    case failed
    /// A gate stopped it.
    case refused
    case cancelled

    /// Nil of one that goes on.
    init?(_ summary: RunSummary) {
        switch summary.run.state {
        case "succeeded": self = .finished
        case "cancelled": self = .cancelled
        case "failed":
            let isRefused = summary.jobs.contains { job in
                job.state == "failed" && GateRefusal.isOne(job.error)
            }
            self = isRefused ? .refused : .failed
        default: return nil
        }
    }
}
