// SPDX-License-Identifier: Apache-2.0

/// Commands in Redis' wire format, formatted by us into one buffer: hiredis would allocate, copy and free
/// each command, and moves its whole buffer on a partial write.
struct RESPBuffer: Sendable {
    private(set) var bytes: [UInt8] = []
    /// Where each command starts.
    private var starts: [Int] = []

    var count: Int { starts.count }
    var isEmpty: Bool { starts.isEmpty }

    mutating func append(_ arguments: [String]) {
        begin(arguments.count)
        for argument in arguments { append(argument: argument.utf8) }
    }

    mutating func append(_ arguments: String...) { append(arguments) }

    /// The start of a command; exactly `count` arguments must follow.
    mutating func begin(_ count: Int) {
        starts.append(bytes.count)
        bytes.append(UInt8(ascii: "*"))
        append(number: count)
    }

    mutating func append(argument: some Collection<UInt8>) {
        bytes.append(UInt8(ascii: "$"))
        append(number: argument.count)
        bytes.append(contentsOf: argument)
        endLine()
    }

    /// Commands, or parts of one, that were formatted before.
    mutating func append(_ other: RESPBuffer) {
        for start in other.starts { starts.append(bytes.count + start) }
        bytes.append(contentsOf: other.bytes)
    }

    /// A command of another buffer, as it stands there.
    mutating func append(_ command: Int, of other: RESPBuffer) {
        starts.append(bytes.count)
        bytes.append(contentsOf: other.bytes[other.range(command..<command + 1)])
    }

    /// An argument of a command; nil where it has not so many.
    func argument(_ wanted: Int, of command: Int) -> ArraySlice<UInt8>? {
        var rest = bytes[range(command..<command + 1)]
        guard wanted < Self.takeNumber(&rest) else { return nil }
        for _ in 0..<wanted {
            let length = Self.takeNumber(&rest)
            rest = rest.dropFirst(length + 2)
        }
        let length = Self.takeNumber(&rest)
        return rest.prefix(length)
    }

    /// Takes a line such as `$12`.
    private static func takeNumber(_ rest: inout ArraySlice<UInt8>) -> Int {
        let digits = rest.dropFirst().prefix { $0 != UInt8(ascii: "\r") }
        rest = rest.dropFirst(digits.count + 3)
        return digits.reduce(0) { 10 * $0 + Int($1 - UInt8(ascii: "0")) }
    }

    /// Where the bytes of some commands stand.
    func range(_ commands: Range<Int>) -> Range<Int> {
        starts[commands.lowerBound]..<end(of: commands.upperBound - 1)
    }

    /// As few commands from one on as have so many bytes, or all that are left.
    func window(from first: Int, bytes wanted: Int) -> Range<Int> {
        var last = first
        while last + 1 < count, end(of: last) - starts[first] < wanted { last += 1 }
        return first..<last + 1
    }

    private func end(of command: Int) -> Int {
        command + 1 < starts.count ? starts[command + 1] : bytes.count
    }

    private mutating func append(number: Int) {
        append(digits: number)
        endLine()
    }

    /// Without a String: there are five numbers in a command.
    private mutating func append(digits number: Int) {
        if number > 9 { append(digits: number / 10) }
        bytes.append(UInt8(ascii: "0") + UInt8(number % 10))
    }

    private mutating func endLine() {
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
    }
}
