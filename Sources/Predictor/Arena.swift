// SPDX-License-Identifier: Apache-2.0

/// Zeroed memory for kernels, on cache lines, freed together.
@safe final class Arena {
    private var blocks: [UnsafeMutableRawPointer]

    init() { unsafe blocks = [] }

    func take<T: BitwiseCopyable>(_ type: T.Type, _ count: Int) -> UnsafeMutablePointer<T> {
        let bytes = max(1, count) * MemoryLayout<T>.stride
        let block = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
        unsafe block.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        unsafe blocks.append(block)
        return unsafe block.bindMemory(to: type, capacity: max(1, count))
    }

    deinit { unsafe blocks.forEach { unsafe $0.deallocate() } }
}
