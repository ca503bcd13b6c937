// SPDX-License-Identifier: Apache-2.0

/// One server, and a connection to it while that works.
///
/// A connection on which anything but an error reply went wrong is not used again: nobody knows which
/// replies are still on their way.
final class RedisNode {
    let endpoint: RedisEndpoint
    private let setup: RESPBuffer
    private let timeout: Duration
    private var connection: RedisConnection?

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
        if !isConnected {
            connection = try RedisConnection(to: endpoint, setup: setup, timeout: timeout)
        }
    }

    func disconnect() { connection = nil }

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

    /// Whether replicas copy what is written here; false where the server does not tell.
    func hasReplicas() throws(CacheError) -> Bool {
        guard case .array(let role) = try ask("ROLE"), role.count == 3,
            case .array(let replicas) = role[2]
        else { return false }
        return !replicas.isEmpty
    }

    /// Waits, for half the time limit, until one of them has all that was written on this connection.
    func awaitReplica() throws(CacheError) {
        let milliseconds = timeout / .milliseconds(2)
        let reply = try ask("WAIT", "1", String(Int(milliseconds)))
        if case .error(let words) = reply { throw .refused(words) }
        guard reply.number ?? 0 > 0 else {
            throw .unreachable("no replica of \(endpoint) takes what is written")
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
