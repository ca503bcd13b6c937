// SPDX-License-Identifier: Apache-2.0
// The safetensors format (huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header, then the tensors. Python reads these files with no help from us.
private import FoundationEssentials
private import Glibc

/// A tensor to be written; row-major.
package enum Tensor {
    case float32([Float], shape: [Int])
    case int32([Int32], shape: [Int])
    case int64([Int64], shape: [Int])
    case uint8([UInt8], shape: [Int])

    fileprivate var header: (dtype: String, shape: [Int], bytes: Int) {
        switch self {
        case .float32(let values, let shape): ("F32", shape, values.count * 4)
        case .int32(let values, let shape): ("I32", shape, values.count * 4)
        case .int64(let values, let shape): ("I64", shape, values.count * 8)
        case .uint8(let values, let shape): ("U8", shape, values.count)
        }
    }
}

private struct Entry: Codable {
    let dtype: String
    let shape: [Int]
    let data_offsets: [Int]
}

package enum SafeTensors {
    /// Writes a new file and syncs it; names are written in sorted order, so equal tensors make
    /// equal bytes.
    package static func write(
        _ tensors: [String: Tensor],
        to path: String
    ) throws(PredictorError) {
        let names = tensors.keys.sorted()
        var entries: [String: Entry] = [:]
        var offset = 0
        for name in names {
            guard let (dtype, shape, bytes) = tensors[name]?.header else { continue }
            precondition(
                shape.reduce(1, *) * width(dtype) == bytes,
                "\(name): shape and values differ"
            )
            entries[name] = Entry(
                dtype: dtype,
                shape: shape,
                data_offsets: [offset, offset + bytes]
            )
            offset += bytes
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard var header = try? [UInt8](encoder.encode(entries)) else {
            preconditionFailure("strings and integers always encode")
        }
        // The data starts on a multiple of 8, so that it can be mapped.
        while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }

        let file = try OutputFile(path)
        try file.write([Int64(header.count).littleEndian])
        try file.write(header)
        for name in names {
            switch tensors[name] {
            case .float32(let values, _): try file.write(values)
            case .int32(let values, _): try file.write(values)
            case .int64(let values, _): try file.write(values)
            case .uint8(let values, _): try file.write(values)
            case nil: continue
            }
        }
        try file.sync()
    }

    fileprivate static func width(_ dtype: String) -> Int {
        switch dtype {
        case "F32", "I32": 4
        case "I64": 8
        default: 1
        }
    }
}

/// An open safetensors file; each tensor is read straight into the array that is asked for.
package struct TensorFile: ~Copyable {
    private let descriptor: Int32
    private let path: String
    private let dataStart: Int
    private let entries: [String: Entry]

    package init(_ path: String) throws(PredictorError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path, unsafe String(cString: strerror(errno))) }
        guard let length: [Int64] = Self.read(descriptor, at: 0, count: 1), length[0] > 0,
            length[0] < 100_000_000,
            let header: [UInt8] = Self.read(descriptor, at: 8, count: Int(length[0])),
            let entries = try? JSONDecoder().decode([String: Entry].self, from: Data(header))
        else {
            close(descriptor)
            throw .file(path, "is not a safetensors file, or is cut short")
        }
        self.descriptor = descriptor
        self.path = path
        dataStart = 8 + Int(length[0])
        self.entries = entries
    }

    deinit { close(descriptor) }

    package func has(_ name: String) -> Bool { entries[name] != nil }

    package func shape(_ name: String) throws(PredictorError) -> [Int] { try entry(name).shape }

    package func float32(_ name: String) throws(PredictorError) -> [Float] {
        try values(name, "F32")
    }
    package func int32(_ name: String) throws(PredictorError) -> [Int32] { try values(name, "I32") }
    package func int64(_ name: String) throws(PredictorError) -> [Int64] { try values(name, "I64") }
    package func uint8(_ name: String) throws(PredictorError) -> [UInt8] { try values(name, "U8") }

    private func entry(_ name: String) throws(PredictorError) -> Entry {
        guard let entry = entries[name] else { throw .file(path, "has no tensor \"\(name)\"") }
        return entry
    }

    private func values<T: BitwiseCopyable>(
        _ name: String,
        _ dtype: String
    ) throws(PredictorError) -> [T] {
        let entry = try entry(name)
        let bytes = entry.data_offsets[1] - entry.data_offsets[0]
        guard entry.dtype == dtype,
            let values: [T] = Self.read(
                descriptor,
                at: dataStart + entry.data_offsets[0],
                count: bytes / MemoryLayout<T>.stride
            )
        else { throw .file(path, "tensor \"\(name)\" is not \(dtype), or is cut short") }
        return values
    }

    private static func read<T: BitwiseCopyable>(
        _ descriptor: Int32,
        at offset: Int,
        count: Int
    ) -> [T]? {
        let wanted = count * MemoryLayout<T>.stride
        var done = 0
        let values = unsafe [T](unsafeUninitializedCapacity: count) { buffer, initialised in
            let bytes = UnsafeMutableRawBufferPointer(buffer)
            while done < wanted {
                let got = unsafe pread(
                    descriptor,
                    bytes.baseAddress.map { unsafe $0 + done },
                    wanted - done,
                    offset + done
                )
                if got <= 0 { break }
                done += got
            }
            initialised = done / MemoryLayout<T>.stride
        }
        return done == wanted ? values : nil
    }
}
