// SPDX-License-Identifier: Apache-2.0

/// Bytes in the processor's memory that a device fetches by itself, where the system lets them be pinned; they only
/// take longer to get there where it does not.
@safe package final class PinnedBytes {
    package private(set) var count = 0
    private var capacity = 1 << 16
    private var start: UnsafeMutableRawPointer
    /// Nil: not tried yet.
    private var isPinned: Bool?
    private let device: Device
    /// The largest that a system may have.
    private static let page = 1 << 16

    package init(on device: Device) {
        self.device = device
        unsafe start = Self.allocate(capacity)
    }

    deinit { release() }

    package func removeAll() { count = 0 }

    /// Behind what is there, at a multiple of 16; returns where.
    package func append<Element: BitwiseCopyable>(_ values: [Element]) -> Int {
        let place = (count + 15) / 16 * 16
        unsafe values.withUnsafeBytes { bytes in
            grow(to: place + bytes.count)
            if let from = bytes.baseAddress {
                unsafe (start + place).copyMemory(from: from, byteCount: bytes.count)
            }
            count = place + bytes.count
        }
        return place
    }

    /// To the beginning of an array; within `Device.use`.
    package func send(to array: DeviceArray<UInt8>) throws(CUDAError) {
        precondition(count <= array.count)
        if isPinned == nil { unsafe isPinned = device.driver.pin(start, capacity, 0) == 0 }
        try unsafe device.driver.check(
            device.driver.upload(array.address, start, count),
            "cuMemcpyHtoD"
        )
    }

    private func grow(to wanted: Int) {
        guard wanted > capacity else { return }
        // Whole pages: those are what is pinned.
        let larger = (max(wanted, 2 * capacity) + Self.page - 1) / Self.page * Self.page
        let new = unsafe Self.allocate(larger)
        unsafe new.copyMemory(from: start, byteCount: count)
        release()
        unsafe start = unsafe new
        (capacity, isPinned) = (larger, nil)
    }

    private func release() {
        if isPinned == true { unsafe device.unpin(start) }
        unsafe start.deallocate()
    }

    private static func allocate(_ count: Int) -> UnsafeMutableRawPointer {
        UnsafeMutableRawPointer.allocate(byteCount: count, alignment: page)
    }
}
