// SPDX-License-Identifier: Apache-2.0
private import Synchronization

/// Connections of this process so far.
private let connections = Atomic(0)

/// One server, and a connection to it while that works.
///
/// A connection on which anything but an error reply went wrong is not used again: nobody knows which
/// replies are still on their way.
final class RedisNode {
    let endpoint: RedisEndpoint
    private let setup: RESPBuffer
    private let timeout: Duration
    private var connection: RedisConnection?
    /// Another for each connection, of all servers.
    private(set) var generation = 0
    /// It kept somebody waiting; until then those who can do without it do not ask it.
    private(set) var silentUntil = ContinuousClock.now
    /// Whether somebody said that a replica copies it.
    var hasReplica = false

    init(_ endpoint: RedisEndpoint, setup: RESPBuffer, timeout: Duration) {
        self.endpoint = endpoint
        self.setup = setup
        self.timeout = timeout
    }

    var isConnected: Bool {
        switch connection {
        case .some: true
        case .none: false
        }
    }

    func connect() throws(CacheError) {
        if isConnected { return }
        connection = try RedisConnection(to: endpoint, setup: setup, timeout: timeout)
        generation = connections.add(1, ordering: .relaxed).newValue
    }

    func disconnect() { connection = nil }

    func keepFrom(asking time: Duration) { silentUntil = .now + time }

    func send(_ commands: ArraySlice<UInt8>) throws(CacheError) {
        try connect()
        try use { connection throws(CacheError) in try connection.send(commands) }
    }

    /// Replies to what was sent on this connection.
    func replies(_ count: Int) throws(CacheError) -> [Reply] {
        try use { connection throws(CacheError) in try connection.replies(count) }
    }

    /// At which of the commands that were sent on this connection the replies are errors.
    func errors(
        at places: Range<Int>,
        _ reader: borrowing CountingReader
    ) throws(CacheError) -> [Int] {
        try use { connection throws(CacheError) in try connection.errors(at: places, reader) }
    }

    func exchange(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        try connect()
        return try use { connection throws(CacheError) in try connection.exchange(commands) }
    }

    enum Role {
        /// How much of what was written it has given on, and its replicas have taken.
        case primary(offset: Int, replicas: [Int])
        case replica
        /// The server does not tell.
        case unknown
    }

    func role() throws(CacheError) -> Role {
        guard case .array(let role) = try ask("ROLE"), role.count > 2 else { return .unknown }
        guard role[0].text == "master", case .array(let replicas) = role[2] else { return .replica }
        return .primary(
            offset: role[1].number ?? 0,
            replicas: replicas.map { replica in
                guard case .array(let words) = replica, words.count > 2 else { return 0 }
                return words[2].text.flatMap { Int($0) } ?? 0
            }
        )
    }

    /// Whether a replica has all that was written on this connection, before so much time is over.
    func isReplicated(within time: Duration) throws(CacheError) -> Bool {
        let reply = try ask("WAIT", "1", String(Int(time / .milliseconds(1)))).checked()
        return reply.number ?? 0 > 0
    }

    /// Asks what changes nothing; again on another connection where the one of before was closed.
    func askAgain(_ words: String...) throws(CacheError) -> Reply {
        var question = RESPBuffer()
        question.append(words)
        let wasConnected = isConnected
        let start = ContinuousClock.now
        do {
            return try exchange(question).first ?? .null
        } catch {
            guard wasConnected, start.duration(to: .now) < timeout / 2 else { throw error }
            return try exchange(question).first ?? .null
        }
    }

    func ask(_ words: String...) throws(CacheError) -> Reply {
        var question = RESPBuffer()
        question.append(words)
        return try exchange(question).first ?? .null
    }

    private func use<T>(
        _ body: (borrowing RedisConnection) throws(CacheError) -> T
    ) throws(CacheError) -> T {
        guard let connection = connection.take() else {
            throw .unreachable("\(endpoint): the connection was closed")
        }
        let value = try body(connection)
        self.connection = consume connection
        return value
    }
}
