// SPDX-License-Identifier: Apache-2.0
private import CHiredis
private import Glibc

/// One connection to Redis; closed when the value goes out of scope.
///
/// Every call blocks; `RedisClient` keeps it on a queue of its own.
@safe struct RedisConnection: ~Copyable {
    private let context: UnsafeMutablePointer<redisContext>

    /// `setup`: commands that every connection begins with.
    init(
        to endpoint: RedisEndpoint,
        setup: RESPBuffer,
        timeout: Duration
    ) throws(CacheError) {
        let seconds = timeout.components
        let limit = timeval(
            tv_sec: Int(seconds.seconds),
            tv_usec: Int(seconds.attoseconds / 1_000_000_000_000)
        )
        let opened =
            switch endpoint {
            case .socket(let path): unsafe redisConnectUnixWithTimeout(path, limit)
            case .tcp(let host, let port):
                unsafe redisConnectWithTimeout(host, Int32(port), limit)
            }
        guard let context = unsafe opened else { throw .unreachable("out of memory") }
        try unsafe self.init(adopting: context, endpoint, setup, limit)
    }

    /// Takes ownership first and checks second, so that a failed connection is freed too.
    private init(
        adopting context: UnsafeMutablePointer<redisContext>,
        _ endpoint: RedisEndpoint,
        _ setup: RESPBuffer,
        _ timeout: timeval
    ) throws(CacheError) {
        unsafe self.context = context
        guard unsafe context.pointee.err == 0 else {
            throw .unreachable("\(endpoint): \(message)")
        }
        _ = unsafe redisSetTimeout(context, timeout)
        // On a Unix socket hiredis would fail here and mark the connection as broken.
        if case .tcp = endpoint { _ = unsafe redisEnableKeepAlive(context) }
        for reply in try exchange(setup) {
            if case .error(let words) = reply { throw .refused(words) }
        }
    }

    deinit { unsafe redisFree(context) }

    private var message: String {
        unsafe withUnsafePointer(to: &context.pointee.errstr) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 128) {
                unsafe String(cString: $0)
            }
        }
    }

    /// Sends all commands of the buffer and reads all their replies, errors included.
    borrowing func exchange(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        guard !commands.isEmpty else { return [] }
        try send(commands.bytes[...])
        return try replies(commands.count)
    }

    /// Reads so many replies, errors included.
    borrowing func replies(_ count: Int) throws(CacheError) -> [Reply] {
        var replies: [Reply] = []
        for _ in 0..<count {
            var raw: UnsafeMutableRawPointer?
            guard unsafe redisGetReply(context, &raw) == REDIS_OK, let reply = unsafe raw else {
                // Of a connection that was closed, errno says nothing.
                throw unsafe context.pointee.err == REDIS_ERR_IO && errno == EAGAIN
                    ? .unreachable("no reply within the time limit") : lost()
            }
            replies.append(
                unsafe Reply(copying: UnsafePointer(reply.assumingMemoryBound(to: redisReply.self)))
            )
            unsafe freeReplyObject(reply)
        }
        return replies
    }

    /// Writes commands to the socket; their replies are read later.
    borrowing func send(_ commands: ArraySlice<UInt8>) throws(CacheError) {
        let descriptor = unsafe context.pointee.fd
        let failure = unsafe commands.withUnsafeBytes { bytes -> Int32 in
            var done = 0
            while done < bytes.count {
                let sent = unsafe Glibc.send(
                    descriptor,
                    bytes.baseAddress.map { unsafe $0 + done },
                    bytes.count - done,
                    Int32(MSG_NOSIGNAL)
                )
                if sent < 0 && errno == EINTR { continue }
                if sent <= 0 { return errno }
                done += sent
            }
            return 0
        }
        guard failure == 0 else {
            throw .unreachable(
                failure == EAGAIN
                    ? "no progress within the time limit"
                    : unsafe String(cString: strerror(failure))
            )
        }
    }

    /// Reads the replies to the commands at some places, and returns at which of them are errors.
    ///
    /// Nothing is allocated for a reply: the reader without functions returns each reply's type.
    borrowing func errors(
        at places: Range<Int>,
        _ reader: borrowing CountingReader
    ) throws(CacheError) -> [Int] {
        var errors: [Int] = []
        var place = places.lowerBound
        let descriptor = unsafe context.pointee.fd
        while place < places.upperBound {
            switch reader.next() {
            case .reply(let isError):
                if isError { errors.append(place) }
                place += 1
            case .incomplete:
                try reader.fill(from: descriptor)
            case .broken:
                throw .unreachable("the reply is not in Redis' format")
            }
        }
        return errors
    }

    private borrowing func lost() -> CacheError {
        .unreachable(message.isEmpty ? "the connection was closed" : message)
    }
}

/// hiredis' reader in its counting form.
@safe struct CountingReader: ~Copyable {
    private let reader: UnsafeMutablePointer<redisReader>

    init() throws(CacheError) {
        guard let reader = unsafe redisReaderCreateWithFunctions(nil) else {
            throw .unreachable("out of memory")
        }
        unsafe self.reader = reader
    }

    deinit { unsafe redisReaderFree(reader) }

    enum Next {
        case reply(isError: Bool)
        case incomplete
        case broken
    }

    borrowing func next() -> Next {
        var reply: UnsafeMutableRawPointer?
        guard unsafe redisReaderGetReply(reader, &reply) == REDIS_OK else { return .broken }
        guard let reply = unsafe reply else { return .incomplete }
        return .reply(isError: Int(bitPattern: reply) == Int(REDIS_REPLY_ERROR))
    }

    borrowing func fill(from descriptor: Int32) throws(CacheError) {
        // 64 KiB hold the replies of some thousand SETs.
        let (got, failure) = unsafe withUnsafeTemporaryAllocation(
            byteCount: 65_536,
            alignment: 16
        ) { buffer in
            let got = unsafe recv(descriptor, buffer.baseAddress, buffer.count, 0)
            if got > 0 {
                unsafe redisReaderFeed(
                    reader,
                    buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                    got
                )
            }
            return (got, errno)
        }
        if got == 0 { throw .unreachable("the connection was closed") }
        if got < 0 && failure != EINTR {
            throw .unreachable(
                failure == EAGAIN
                    ? "no reply within the time limit"
                    : unsafe String(cString: strerror(failure))
            )
        }
    }
}
