// SPDX-License-Identifier: Apache-2.0
import Executors

/// Owns one connection on a queue of its own, and opens another when it breaks.
package actor RedisClient {
    private let address: RedisAddress
    private let timeout: Duration
    private let executor = SerialQueueExecutor(label: "larder.redis")
    private var connection: RedisConnection?

    /// 64 to 128 KiB fill a socket buffer; more in one write gains nothing, and four windows
    /// under way keep both sides busy without growing the server's reply buffer.
    private static let windowBytes = 96 << 10
    private static let windowsInFlight = 4

    package init(_ address: RedisAddress, timeout: Duration = .seconds(10)) {
        self.address = address
        self.timeout = timeout
    }

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// Sends commands in one write and returns their replies; an error reply is a reply.
    func exchange(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        try withConnection { connection throws(CacheError) in try connection.exchange(commands) }
    }

    /// Sends commands that change nothing; an error reply is a reply.
    ///
    /// A server closes connections that were silent for long, and one that was restarted has closed
    /// them all: what fails on a connection of before is sent again on a new one.
    func ask(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        let wasConnected = connection != nil
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
    /// learn the words, which are thrown.
    @discardableResult
    func pipeline(_ commands: RESPBuffer) throws(CacheError) -> Int {
        try withConnection { connection throws(CacheError) in
            let reader = try CountingReader()
            var inFlight: [Range<Int>] = []
            var next = 0
            while next < commands.count || !inFlight.isEmpty {
                if next < commands.count && inFlight.count < Self.windowsInFlight {
                    let window = commands.window(from: next, bytes: Self.windowBytes)
                    try connection.send(commands.bytes[commands.range(window)])
                    inFlight.append(window)
                    next = window.upperBound
                    continue
                }
                var refused = try connection.errors(at: inFlight.removeFirst(), reader)
                if refused.isEmpty { continue }
                // The other replies must be read before the connection can be asked again.
                for other in inFlight { refused += try connection.errors(at: other, reader) }
                inFlight = []
                for place in refused {
                    // Refused the first time and not the second: then it is done now.
                    let range = commands.range(place..<place + 1)
                    try connection.send(commands.bytes[range])
                    for case .error(let words) in try connection.replies(1) {
                        throw .refused(words)
                    }
                }
            }
            return commands.bytes.count
        }
    }

    /// A connection on which anything but an error reply went wrong is not used again: nobody
    /// knows which replies are still on their way.
    private func withConnection<T>(
        _ body: (borrowing RedisConnection) throws(CacheError) -> T
    ) throws(CacheError) -> T {
        let connection = try connected()
        let value = try body(connection)
        self.connection = consume connection
        return value
    }

    private func connected() throws(CacheError) -> RedisConnection {
        if let connection = connection.take() { return connection }
        return try RedisConnection(address, timeout: timeout)
    }
}
