// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import CacheWriter

struct HashSlotTests {
    /// Of redis.io's cluster specification, and as `CLUSTER KEYSLOT` says.
    @Test(arguments: [
        ("123456789", 0x31c3), ("foo", 12_182), ("{user1000}.following", 3443),
        ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015), ("foo{bar}{zap}", 5061), ("", 0),
    ])
    func `keys have the slots that Redis gives them`(_ key: String, _ slot: Int) {
        #expect(HashSlot.of(ArraySlice(key.utf8)) == slot)
    }

    @Test func `a command's key is where Redis looks for it`() {
        var commands = RESPBuffer()
        commands.append("SET", "foo", "{bar}")
        commands.append("EVAL", "return {1}", "2", "foo", "bar")
        commands.append("OBJECT", "ENCODING", "foo")
        commands.append("PING")
        commands.append("CLUSTER", "SLOTS")
        commands.append("FUNCTION", "LOAD", "foo")
        #expect(
            (0..<6).map { HashSlot.of($0, in: commands) } == [
                12_182, 12_182, 12_182, nil, nil, nil,
            ]
        )
    }
}
