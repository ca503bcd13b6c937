// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Commands on their way to several servers at a time, and to others where these say so.
extension RedisClient {
    /// While slots move, and what asks for two keys waits until both have.
    private static let pause: UInt32 = 20_000

    /// Notes in `written` who got something.
    ///
    /// `isPartial`: whether some replies are better than none where one server of several does not answer.
    func exchange(
        _ commands: RESPBuffer,
        _ written: inout Written,
        isPartial: Bool = false
    ) throws(CacheError) -> [Reply] {
        var replies = [Reply](repeating: .null, count: commands.count)
        let end = ContinuousClock.now + timeout
        var parts = try topology.parts(of: commands)
        try exchange(parts, into: &replies, &written, isPartial: isPartial)
        for round in 0... {
            parts = try redirected(parts, replies, commands, round, isPartial: isPartial)
            if parts.isEmpty { break }
            guard ContinuousClock.now < end else {
                throw .unreachable("the servers of the cluster do not agree on who has a key")
            }
            try exchange(parts, into: &replies, &written, isPartial: isPartial, isFollowing: true)
        }
        return replies
    }

    private func exchange(
        _ parts: [RedisTopology.Part],
        into replies: inout [Reply],
        _ written: inout Written,
        isPartial: Bool,
        isFollowing: Bool = false
    ) throws(CacheError) {
        var failures: [Int: CacheError] = [:]
        for (number, part) in parts.enumerated() where !part.commands.isEmpty {
            do {
                if isPartial, parts.count > 1, part.node.silentUntil > .now {
                    throw CacheError.unreachable("\(part.node.endpoint) did not answer in time")
                }
                try part.node.send(part.commands.bytes[...])
                written.note(part.node.endpoint, part.node.generation)
            } catch let error as CacheError {
                failures[number] = error
            } catch {}
        }
        // Also where another failed: what was sent must be read before the connection is used again.
        for (number, part) in parts.enumerated() where failures[number] == nil {
            let start = ContinuousClock.now
            do {
                for (own, reply) in try part.node.replies(part.commands.count).enumerated() {
                    if let place = part.place(own) { replies[place] = reply }
                }
            } catch {
                failures[number] = error
                // Else all would wait for it each time, also those who ask others.
                if start.duration(to: .now) > timeout / 2 { part.node.keepFrom(asking: timeout) }
            }
        }
        for (number, error) in failures {
            if case .unreachable = error { topology.doubt(parts[number].node) }
            guard isPartial, isFollowing || failures.count < parts.count else { throw error }
            for own in 0..<parts[number].commands.count {
                if let place = parts[number].place(own) { replies[place] = .unanswered(error) }
            }
        }
    }

    /// What is to be sent elsewhere, of what was sent to these parts.
    private func redirected(
        _ parts: [RedisTopology.Part],
        _ replies: [Reply],
        _ commands: RESPBuffer,
        _ round: Int,
        isPartial: Bool
    ) throws(CacheError) -> [RedisTopology.Part] {
        var moves: [(slot: Int, to: RedisEndpoint)] = []
        var places: [Int] = []
        var asked: [RedisEndpoint: RedisTopology.Part] = [:]
        var isLater = false
        for part in parts {
            for own in 0..<part.commands.count {
                guard let place = part.place(own), case .error(let words) = replies[place] else {
                    continue
                }
                switch Redirection(words, from: part.node.endpoint) {
                case .moved(let slot, let endpoint):
                    moves.append((slot, endpoint))
                    places.append(place)
                case .tryAgain:
                    isLater = true
                    places.append(place)
                case .ask(let endpoint):
                    asked[endpoint, default: .init(node: topology.node(endpoint), places: [])]
                        .appendAsking(place, of: commands)
                case nil:
                    if topology.hasLost(part.node, words), !isPartial { throw .unreachable(words) }
                }
            }
        }
        if !moves.isEmpty { try topology.move(moves) }
        if isLater || round > 0 && !moves.isEmpty { usleep(Self.pause) }
        guard !places.isEmpty else { return Array(asked.values) }
        places.sort()
        var again = RESPBuffer()
        for place in places { again.append(place, of: commands) }
        // Of two commands with the same key the first was sent away first.
        return try asked.values + topology.parts(of: again).map { $0.placed(at: places) }
    }

    /// Sends commands and returns at which of them the replies are errors.
    func stream(
        _ parts: [RedisTopology.Part],
        _ written: inout Written
    ) throws(CacheError) -> [Int] {
        var refused: [Int] = []
        var streams: [Stream] = []
        for part in parts { streams.append(try Stream(part)) }
        while !streams.isEmpty {
            for isSending in [true, false] {
                for stream in streams {
                    do {
                        if isSending { try stream.fill() } else { refused += try stream.take() }
                    } catch {
                        topology.doubt(stream.part.node)
                        // Of the others, too, replies are on their way.
                        for part in parts { part.node.disconnect() }
                        throw error
                    }
                }
            }
            streams.removeAll(where: \.isDone)
        }
        for part in parts { written.note(part.node.endpoint, part.node.generation) }
        return refused.sorted()
    }

    /// Commands on their way to one server, window by window.
    private final class Stream {
        let part: RedisTopology.Part
        private let reader: CountingReader
        private var inFlight: [Range<Int>] = []
        private var next = 0

        /// 64 to 128 KiB fill a socket buffer; more in one write gains nothing, and four windows
        /// under way keep both sides busy without growing the server's reply buffer.
        private static let windowBytes = 96 << 10
        private static let windowsInFlight = 4

        init(_ part: RedisTopology.Part) throws(CacheError) {
            self.part = part
            reader = try CountingReader()
        }

        var isDone: Bool { next == part.commands.count && inFlight.isEmpty }

        /// Sends windows while more may be under way.
        func fill() throws(CacheError) {
            while next < part.commands.count, inFlight.count < Self.windowsInFlight {
                let window = part.commands.window(from: next, bytes: Self.windowBytes)
                try part.node.send(part.commands.bytes[part.commands.range(window)])
                inFlight.append(window)
                next = window.upperBound
            }
        }

        /// Reads the replies to a window; returns which commands were refused.
        func take() throws(CacheError) -> [Int] {
            guard !inFlight.isEmpty else { return [] }
            return try part.node.errors(at: inFlight.removeFirst(), reader)
                .compactMap { part.place($0) }
        }
    }
}
