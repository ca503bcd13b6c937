// SPDX-License-Identifier: Apache-2.0
import Executors
private import Glibc

/// Talks to a server, to the primary that Sentinels name, or to a cluster, on a queue of its own: one connection
/// to each server, and another when that breaks.
package actor RedisClient {
    private let topology: RedisTopology
    private let timeout: Duration
    private let executor = SerialQueueExecutor(label: "larder.redis")

    /// 64 to 128 KiB fill a socket buffer; more in one write gains nothing, and four windows
    /// under way keep both sides busy without growing the server's reply buffer.
    fileprivate static let windowBytes = 96 << 10
    fileprivate static let windowsInFlight = 4
    /// How often what a cluster sends elsewhere is followed: keys of a slot that moves are sent twice at most,
    /// and what asks for two of them waits until both have moved.
    private static let redirections = 50
    private static let pause: UInt32 = 20_000

    package init(_ address: RedisAddress, timeout: Duration = .seconds(10)) {
        self.timeout = timeout
        topology = RedisTopology(address, timeout: timeout)
    }

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// How often a connection broke.
    private(set) var breaks = 0

    /// Whether a server has said so.
    var isCluster: Bool { topology.isCluster }

    /// Sends commands, in one write to each server, and returns their replies; an error reply is a reply.
    ///
    /// What a cluster sends elsewhere is followed.
    func exchange(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        try doubting { () throws(CacheError) in
            var replies = [Reply](repeating: .null, count: commands.count)
            let parts = try topology.parts(of: commands)
            try exchange(parts, into: &replies)
            for _ in 0..<Self.redirections {
                let again = try redirected(parts, replies, commands)
                if again.isEmpty { return replies }
                try exchange(again, into: &replies)
            }
            throw .unreachable("the servers of the cluster do not agree on who has a key")
        }
    }

    /// Sends commands that change nothing; an error reply is a reply.
    ///
    /// A server closes connections that were silent for long, and one that was restarted has closed
    /// them all: what fails on a connection of before is sent again on a new one.
    func ask(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        let wasConnected = topology.isConnected
        let start = ContinuousClock.now
        do {
            return try exchange(commands)
        } catch {
            // A server that does not answer would not the second time either.
            guard wasConnected, case .unreachable = error, start.duration(to: .now) < timeout / 2
            else { throw error }
            return try exchange(commands)
        }
    }

    /// The same; throws at the first that Redis refuses.
    func read(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        let replies = try ask(commands)
        for case .error(let words) in replies { throw .refused(words) }
        return replies
    }

    /// Sends one command and throws if Redis refuses it.
    @discardableResult
    package func command(_ arguments: String...) throws(CacheError) -> Reply {
        try command(arguments)
    }

    @discardableResult
    package func command(_ arguments: [String]) throws(CacheError) -> Reply {
        var buffer = RESPBuffer()
        buffer.append(arguments)
        let reply = try exchange(buffer).first ?? .null
        if case .error(let words) = reply { throw .refused(words) }
        return reply
    }

    /// Whether the server answers.
    package func ping() throws(CacheError) {
        var buffer = RESPBuffer()
        buffer.append("PING")
        _ = try read(buffer)
    }

    /// Pipelines commands that may safely be sent twice, and returns the bytes sent.
    ///
    /// Replies are counted without being parsed. What an error came back for is sent again, once, to
    /// learn the words, which are followed or thrown.
    @discardableResult
    func pipeline(_ commands: RESPBuffer) throws(CacheError) -> Int {
        let refused = try doubting { () throws(CacheError) in
            try stream(topology.parts(of: commands))
        }
        guard !refused.isEmpty else { return commands.bytes.count }
        var again = RESPBuffer()
        for command in refused { again.append(command, of: commands) }
        // Refused the first time and not the second: then it is done now.
        for case .error(let words) in try exchange(again) { throw .refused(words) }
        return commands.bytes.count
    }

    /// Waits until a replica of each server that has one has all that was written to it: what only a primary has is
    /// lost when a replica takes its place.
    ///
    /// `breaks`: as it was before the writing began. A connection that broke since may have been that of a primary
    /// that is none any more, whoever was told of it.
    func awaitReplicas(since breaks: Int) throws(CacheError) {
        try doubting { () throws(CacheError) in
            for node in try topology.primaries() where try node.hasReplicas() {
                guard breaks == self.breaks else {
                    throw .unreachable(
                        "a connection broke, and what was written may be lost with its server"
                    )
                }
                try node.awaitReplica()
            }
        }
    }

    // MARK: to several servers at a time

    /// Whoever did not answer may have lost its keys to another.
    private func doubting<T>(_ body: () throws(CacheError) -> T) throws(CacheError) -> T {
        do {
            return try body()
        } catch {
            if case .unreachable = error {
                breaks += 1
                topology.doubt()
            }
            throw error
        }
    }

    private func exchange(
        _ parts: [RedisTopology.Part],
        into replies: inout [Reply]
    ) throws(CacheError) {
        do {
            for part in parts where !part.commands.isEmpty {
                try part.node.send(part.commands.bytes[...])
            }
            for part in parts {
                for (own, reply) in try part.node.replies(part.commands.count).enumerated() {
                    if let place = part.place(own) { replies[place] = reply }
                }
            }
        } catch {
            // Of the others, too, replies are on their way.
            for part in parts { part.node.disconnect() }
            throw error
        }
    }

    /// What is to be sent elsewhere, of what was sent to these parts.
    private func redirected(
        _ parts: [RedisTopology.Part],
        _ replies: [Reply],
        _ commands: RESPBuffer
    ) throws(CacheError) -> [RedisTopology.Part] {
        var moves: [(slot: Int, to: RedisEndpoint)] = []
        var isLater = false
        var places: [Int] = []
        var asked: [RedisEndpoint: RedisTopology.Part] = [:]
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
                    if topology.hasLost(part.node, words) { throw .unreachable(words) }
                }
            }
        }
        if !moves.isEmpty { try topology.move(moves) }
        if isLater { usleep(Self.pause) }
        guard !places.isEmpty else { return Array(asked.values) }
        var again = RESPBuffer()
        for place in places { again.append(place, of: commands) }
        return try topology.parts(of: again).map { $0.placed(at: places) } + asked.values
    }

    /// Sends commands and returns at which of them the replies are errors.
    private func stream(_ parts: [RedisTopology.Part]) throws(CacheError) -> [Int] {
        var refused: [Int] = []
        do {
            var streams: [Stream] = []
            for part in parts { streams.append(try Stream(part)) }
            while !streams.isEmpty {
                for stream in streams { try stream.fill() }
                for stream in streams { refused += try stream.take() }
                streams.removeAll(where: \.isDone)
            }
        } catch {
            for part in parts { part.node.disconnect() }
            throw error
        }
        return refused.sorted()
    }

    /// Commands on their way to one server, window by window.
    private final class Stream {
        private let part: RedisTopology.Part
        private let reader: CountingReader
        private var inFlight: [Range<Int>] = []
        private var next = 0

        init(_ part: RedisTopology.Part) throws(CacheError) {
            self.part = part
            reader = try CountingReader()
        }

        var isDone: Bool { next == part.commands.count && inFlight.isEmpty }

        /// Sends windows while more may be under way.
        func fill() throws(CacheError) {
            while next < part.commands.count, inFlight.count < windowsInFlight {
                let window = part.commands.window(from: next, bytes: windowBytes)
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
