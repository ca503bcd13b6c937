// SPDX-License-Identifier: Apache-2.0

/// Commands in Redis' wire format, formatted by us into one buffer that is used again: hiredis
/// would allocate, copy and free each command, and moves its whole buffer on a partial write.
struct RESPBuffer {
    private(set) var bytes: [UInt8] = []
    private(set) var commands = 0

    var isEmpty: Bool { commands == 0 }

    mutating func append(_ arguments: [String]) {
        begin(arguments.count)
        for argument in arguments { append(argument: argument.utf8) }
    }

    mutating func append(_ arguments: String...) { append(arguments) }

    /// The start of a command; exactly `count` arguments must follow.
    mutating func begin(_ count: Int) {
        commands += 1
        bytes.append(UInt8(ascii: "*"))
        append(number: count)
    }

    mutating func append(argument: some Collection<UInt8>) {
        bytes.append(UInt8(ascii: "$"))
        append(number: argument.count)
        bytes.append(contentsOf: argument)
        endLine()
    }

    mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        commands = 0
    }

    private mutating func append(number: Int) {
        bytes.append(contentsOf: String(number).utf8)
        endLine()
    }

    private mutating func endLine() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }
}
