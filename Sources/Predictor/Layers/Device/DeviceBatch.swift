// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What a step takes to the device, in one piece: each transfer takes longer to begin than most take to run.
final class DeviceBatch {
    /// Where something is that was added.
    struct Part<Element: BitwiseCopyable> {
        fileprivate let offset: Int
        let count: Int
    }

    private let device: Device
    private let bytes: PinnedBytes
    private var array: DeviceArray<UInt8>

    init(on device: Device) throws(CUDAError) {
        self.device = device
        bytes = PinnedBytes(on: device)
        array = try DeviceArray(0, on: device)
    }

    func begin() { bytes.removeAll() }

    func add<Element>(_ values: [Element]) -> Part<Element> {
        Part(offset: bytes.append(values), count: values.count)
    }

    func send() throws(CUDAError) {
        if bytes.count > array.count {
            array = try DeviceArray(0, on: device)
            array = try DeviceArray(bytes.count + bytes.count / 2, on: device)
        }
        try bytes.send(to: array)
    }

    /// Nil: a null pointer; `first`: the element that it points to.
    func append<Element>(
        _ part: Part<Element>?,
        from first: Int = 0,
        to arguments: inout Kernel.Arguments
    ) {
        guard let part else { return arguments.append(nil as DeviceArray<UInt8>?) }
        arguments.append(array, from: part.offset + first * MemoryLayout<Element>.stride)
    }
}
