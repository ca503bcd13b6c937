// SPDX-License-Identifier: Apache-2.0

/// `SET key value EX seconds`, of which a release has one a list: what is the same in all of them is
/// formatted once.
struct ExpiringSet: Sendable {
    let seconds: String
    private let start: RESPBuffer
    private let end: RESPBuffer

    init(_ expire: Duration) {
        seconds = String(expire.components.seconds)
        var (start, end) = (RESPBuffer(), RESPBuffer())
        start.begin(5)
        start.append(argument: "SET".utf8)
        end.append(argument: "EX".utf8)
        end.append(argument: seconds.utf8)
        (self.start, self.end) = (start, end)
    }

    func append(_ key: some Collection<UInt8>, _ value: [UInt8], to buffer: inout RESPBuffer) {
        buffer.append(start)
        buffer.append(argument: key)
        buffer.append(argument: value)
        buffer.append(end)
    }
}
