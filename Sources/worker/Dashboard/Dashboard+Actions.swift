// SPDX-License-Identifier: Apache-2.0
import Foundation
import HTTPTypes
import Hummingbird
import Jobs

/// What buttons do: what the commands of the same names do.
extension Dashboard {
    /// Bytes of a form.
    private static let form = 16 << 10

    func addActions(to router: Router<BasicRequestContext>) {
        for (path, act) in [
            ("jobs/:id/:action", changeJob), ("runs/:id/:action", changeRun),
            ("queues/:queue/:action", changeQueue), ("feeds/:feed/:action", changeFeed),
        ] as [(RouterPath, Action)] {
            router.on(path, [.post: action(act)])
        }
    }

    /// Does something, and returns the page where it shows.
    typealias Action =
        @Sendable (BasicRequestContext, [String: String]) async throws ->
        String

    @Sendable private func changeJob(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        let isDone =
            switch try context.text("action") {
            case "retry": try await !actions.queue.retry([id]).isEmpty
            case "cancel": try await !actions.queue.cancel([id]).isEmpty
            default: throw RequestError(.notFound, "a job can be retried and cancelled")
            }
        if !isDone {
            let state = try await actions.runs.job(id).state
            throw RequestError(
                .conflict,
                "job \(id) is \(state): failed and cancelled jobs can be retried, others cancelled until they end"
            )
        }
        return "/jobs/\(id)"
    }

    @Sendable private func changeRun(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let id = try context.number()
        switch try context.text("action") {
        case "retry":
            if try await actions.runs.retry(id) == 0 {
                _ = try await actions.runs.run(id)
                throw RequestError(
                    .conflict,
                    "nothing of run \(id) has failed or was cancelled"
                )
            }
        case "cancel":
            // Jobs that are being stopped already are not cancelled again.
            if try await actions.runs.cancel(id) == 0,
                try await actions.runs.run(id).state != "running"
            {
                throw RequestError(.conflict, "run \(id) has ended already")
            }
        default: throw RequestError(.notFound, "a run can be retried and cancelled")
        }
        return "/runs/\(id)"
    }

    @Sendable private func changeQueue(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let queue = try context.text("queue")
        switch try context.text("action") {
        case "pause": try await actions.queue.pause(queue)
        case "resume": try await actions.queue.resume(queue)
        default: throw RequestError(.notFound, "a queue can be paused and resumed")
        }
        return "/"
    }

    @Sendable private func changeFeed(
        _ context: BasicRequestContext,
        _ form: [String: String]
    ) async throws -> String {
        let feed = try context.text("feed")
        switch try context.text("action") {
        case "rollback":
            guard let release = Int(form["release"] ?? "") else {
                throw RequestError(.badRequest, "the form says no release")
            }
            _ = try await actions.rollBack(feed, to: release)
        case "hide": try await actions.hide([item(form)], of: feed)
        case "unhide": try await actions.unhide([item(form)], of: feed)
        default:
            throw RequestError(
                .notFound,
                "a feed can be rolled back, and its items hidden and brought back"
            )
        }
        return HTML.path(["feeds", feed])
    }

    private func item(_ form: [String: String]) throws(RequestError) -> String {
        let item = form["item"] ?? ""
        try LookupOptions.check(item, "item")
        return item
    }

    /// Does what a form of our own pages asks for, and sends the browser to where it shows.
    func action(_ act: @escaping Action) -> Router<BasicRequestContext>.Handler {
        { request, context in
            do {
                guard let sessions else {
                    throw RequestError(
                        .forbidden,
                        "nothing can be changed here",
                        hint: "start the server with LARDER_TOKEN set, and sign in with it"
                    )
                }
                let form = try await fields(request)
                guard let session = sessions.session(of: request.headers),
                    sessions.isFormToken(form["form"] ?? "", of: session),
                    ["same-origin", nil].contains(request.headers[named: "Sec-Fetch-Site"])
                else {
                    throw RequestError(
                        .forbidden,
                        "this form was not made for you, or it is too old",
                        hint: "sign in, and try again from the page it stands on"
                    )
                }
                return .seeOther(try await act(context, form))
            } catch {
                return Response(
                    DashboardPage(error, refused: .conflict, context),
                    visitor(request)
                )
            }
        }
    }

    func fields(_ request: Request) async throws(RequestError) -> [String: String] {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.form)
        } catch {
            throw RequestError(.contentTooLarge, "the form has more than \(Self.form) bytes")
        }
        let pairs = try Request.parameters(String(buffer: body))
        return Dictionary(pairs.map { ($0.name, $0.value) }) { _, last in last }
    }
}
