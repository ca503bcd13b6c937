// SPDX-License-Identifier: Apache-2.0

/// The slots of a cluster (redis.io, "Redis cluster specification").
enum HashSlot {
    static let count = 16_384

    /// The slot of a key: CRC-16 (XMODEM) of what stands between its first braces, or of all of it.
    static func of(_ key: ArraySlice<UInt8>) -> Int {
        var hashed = key
        if let open = key.firstIndex(of: UInt8(ascii: "{")),
            let close = key[open...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        {
            hashed = key[open + 1..<close]
        }
        var crc: UInt16 = 0
        for byte in hashed { crc = crc << 8 ^ table[Int(UInt8(crc >> 8) ^ byte)] }
        return Int(crc) % count
    }

    /// The slot of a command of ours; nil of one without a key.
    static func of(_ command: Int, in commands: RESPBuffer) -> Int? {
        let name = commands.argument(0, of: command) ?? []
        if keyless.contains(where: { $0.elementsEqual(name) }) { return nil }
        let place = places.first { $0.0.elementsEqual(name) }?.1 ?? 1
        return commands.argument(place, of: command).map { of($0) }
    }

    /// Commands whose key is not their first argument.
    private static let places = [("EVAL", 3), ("OBJECT", 2)].map { (Array($0.utf8), $1) }
    private static let keyless = ["CLUSTER", "FUNCTION"].map { Array($0.utf8) }

    private static let table = (0..<256).map { byte in
        (0..<8).reduce(UInt16(byte) << 8) { crc, _ in
            crc & 0x8000 == 0 ? crc << 1 : crc << 1 ^ 0x1021
        }
    }
}
