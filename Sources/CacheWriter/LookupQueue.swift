// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// Answers the lookups of many callers.
///
/// What is asked while Redis answers others goes together into the next round trip, so one connection
/// serves them all. While Redis does not answer, one caller at a time tries it, and the others are told
/// at once.
package final class LookupQueue: Sendable {
    private let reader: FeedReader
    private let state = Mutex(State())
    /// Questions of one round trip; those who come later wait for it.
    private static let most = 256
    /// Redis is left alone for so long after it did not answer.
    private static let pause = Duration.milliseconds(100)

    package init(_ reader: FeedReader) { self.reader = reader }

    private typealias Continuation = CheckedContinuation<
        Result<[FeedReader.Answer], CacheError>, Never
    >

    private struct Caller {
        let questions: [FeedReader.Question]
        let continuation: Continuation
    }

    private struct State {
        var waiting: [Caller] = []
        var isAsking = false
        /// Why Redis did not answer the last time, and when.
        var failure: (CacheError, at: ContinuousClock.Instant)?
    }

    /// An answer to each question; throws where Redis does not answer.
    package func lookup(
        _ questions: [FeedReader.Question]
    ) async throws(CacheError) -> [FeedReader.Answer] {
        try await withCheckedContinuation { (continuation: Continuation) in
            let caller = Caller(questions: questions, continuation: continuation)
            enum Next { case wait, ask, fail(CacheError) }
            let next = state.withLock { state -> Next in
                if let (error, at) = state.failure,
                    state.isAsking || at.duration(to: .now) < Self.pause
                {
                    return .fail(error)
                }
                state.waiting.append(caller)
                if state.isAsking { return .wait }
                state.isAsking = true
                return .ask
            }
            switch next {
            case .wait: break
            case .fail(let error): continuation.resume(returning: .failure(error))
            case .ask: Task { await self.ask() }
            }
        }.get()
    }

    /// Asks until nobody waits.
    private func ask() async {
        while let callers = next() {
            let answer: Result<[FeedReader.Answer], CacheError>
            do {
                answer = .success(try await reader.lookup(callers.flatMap(\.questions)))
            } catch {
                answer = .failure(error)
            }
            let late = state.withLock { state -> [Caller] in
                guard case .failure(let error) = answer else {
                    state.failure = nil
                    return []
                }
                state.failure = (error, .now)
                // Nobody waits for the next try: each would wait its time limit.
                defer { state.waiting = [] }
                return state.waiting
            }
            var answers = (try? answer.get())?[...] ?? []
            for caller in callers {
                let own = Array(answers.prefix(caller.questions.count))
                answers = answers.dropFirst(own.count)
                caller.continuation.resume(returning: answer.map { _ in own })
            }
            for caller in late { caller.continuation.resume(returning: answer) }
        }
    }

    /// As many callers as fit into a round trip; nil when there are none, and then nobody asks.
    private func next() -> [Caller]? {
        state.withLock { state in
            var questions = 0
            let callers = state.waiting.prefix { caller in
                defer { questions += caller.questions.count }
                return questions < Self.most
            }
            state.waiting.removeFirst(callers.count)
            if callers.isEmpty { state.isAsking = false }
            return callers.isEmpty ? nil : Array(callers)
        }
    }
}
