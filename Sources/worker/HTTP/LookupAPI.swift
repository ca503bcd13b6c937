// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird

/// `/v1/feeds`: lists for ids, batches of ids and sessions.
struct LookupAPI {
    let queue: LookupQueue
    let meter: ServerMeter

    func add(to router: Router<BasicRequestContext>) {
        router.on(
            "v1/feeds/:feed/:id",
            [
                .get: { request, context in
                    try await one(request, context.text("feed"), context.text("id"))
                }
            ]
        )
        router.on(
            "v1/feeds/:feed",
            [
                .get: { request, context in
                    try await session(request, context.text("feed"))
                },
                .post: { request, context in
                    try await many(request, context.text("feed"))
                },
            ]
        )
    }

    // MARK: one id

    private func one(_ request: Request, _ feed: String, _ id: String) async throws -> Response {
        let options = try LookupOptions(request.parameters())
        let found = try await lookup([options.question(feed, id)])[0].get()
        try check(options, found, feed)
        meter.count(feed, found.source.rawValue)
        // The list may have changed by the next request, and asking whether it has is cheap.
        let tag = "\"\(found.version)\""
        let headers: HTTPFields = [.eTag: "W/\(tag)", .cacheControl: "private, no-cache"]
        if request.headers[values: .ifNoneMatch].contains(where: { $0.contains(tag) }) {
            return Response(status: .notModified, headers: headers)
        }
        var writer = AnswerWriter()
        writer.write(found, feed: feed, id: id, stamp: AnswerWriter.Stamp())
        return .json(writer.bytes, headers: headers)
    }

    // MARK: many

    private func many(_ request: Request, _ feed: String) async throws -> Response {
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Limits.body)
        } catch {
            throw RequestError(.contentTooLarge, "the body has more than \(Limits.body) bytes")
        }
        let asked = try LookupBody(body)
        if let items = asked.items { return try await session(items, asked.options, feed) }
        let ids = asked.ids ?? []
        let found = try await lookup(ids.map { asked.options.question(feed, $0) })
        var writer = AnswerWriter()
        writer.write("{\"answers\":[")
        for (place, (id, answer)) in zip(ids, found).enumerated() {
            if place > 0 { writer.write(",") }
            switch answer {
            case .success(let answer):
                try check(asked.options, answer, feed)
                meter.count(feed, answer.source.rawValue)
                writer.write(answer, feed: feed, id: id)
            case .failure(let error): writer.write(error, feed: feed, id: id)
            }
        }
        writer.write("]")
        writer.write(AnswerWriter.Stamp())
        writer.write("}")
        return .json(writer.bytes)
    }

    // MARK: sessions

    private func session(_ request: Request, _ feed: String) async throws -> Response {
        let parameters = try request.parameters()
        let options = try LookupOptions(parameters, others: ["items"])
        guard let text = parameters.last(where: { $0.name == "items" })?.value else {
            throw RequestError(
                .badRequest,
                "no id and no items are given",
                hint: "ask for /v1/feeds/\(feed)/ID, or with ?items=A,B,C, the oldest first"
            )
        }
        let items = text.split(separator: ",").map(String.init)
        try LookupOptions.check(items, "items")
        return try await session(items, options, feed)
    }

    private func session(
        _ items: [String],
        _ options: LookupOptions,
        _ feed: String
    ) async throws -> Response {
        let session = SessionLookup(items)
        var whole = options
        // What the session has had is taken out of the lists, which must not end before k.
        whole.k = Limits.k.upperBound
        // All of them or none: another list in place of one that cannot be read would be taken for the answer.
        let lists = try await lookup(
            session.items.map { item in
                var question = whole.question(feed, item)
                // A session reads one arm, to its end.
                question.reader = items[0]
                return question
            }
        ).map { answer throws(RequestError) in try answer.get() }
        try check(options, lists[0], feed)
        guard lists[0].listsFor == "items" else {
            throw RequestError(
                .badRequest,
                "feed \"\(feed)\" has lists for \(lists[0].listsFor), and sessions are answered from lists for items"
            )
        }
        let k = options.k ?? lists[0].k
        let merged = session.merged(lists, k: k)
        let source = merged == nil ? lists[0].source.rawValue : "session"
        var answer = lists[0]
        answer.entries = merged ?? session.unmet(lists[0].entries, k: k)
        meter.count(feed, source)
        var writer = AnswerWriter()
        writer.write(answer, feed: feed, id: nil, source: source, stamp: AnswerWriter.Stamp())
        return .json(writer.bytes)
    }

    // MARK: all

    /// An answer to each, one at least; where a list cannot be read, why.
    private func lookup(
        _ questions: [FeedReader.Question]
    ) async throws(RequestError) -> [Result<Lookup, RequestError>] {
        let answers: [FeedReader.Answer]
        do {
            answers = try await queue.lookup(questions)
        } catch {
            throw RequestError(.serviceUnavailable, "\(error)")
        }
        var found: [Result<Lookup, RequestError>] = []
        for (question, answer) in zip(questions, answers) {
            switch answer {
            case .success(let lookup?): found.append(.success(lookup))
            case .success(nil):
                throw RequestError(
                    .notFound,
                    "feed \"\(question.feed)\" has no live release",
                    hint: "`larder releases` lists all feeds"
                )
            case .failure(let error):
                found.append(.failure(RequestError(.serviceUnavailable, "\(error)")))
            }
        }
        // What is wrong with all of them is wrong with the feed.
        if case .failure(let error)? = found.first, found.allSatisfy({ (try? $0.get()) == nil }) {
            throw error
        }
        return found
    }

    private func check(
        _ options: LookupOptions,
        _ found: Lookup,
        _ feed: String
    ) throws(RequestError) {
        guard let arm = options.arm, found.arm != arm else { return }
        throw RequestError(
            .notFound,
            "feed \"\(feed)\" has no arm \"\(arm)\" now",
            hint: "`larder split \(feed)` shows the split, if there is one"
        )
    }
}
