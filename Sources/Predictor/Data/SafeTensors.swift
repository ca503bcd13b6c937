// SPDX-License-Identifier: Apache-2.0
// The safetensors format (huggingface/safetensors): an 8-byte little-endian header length, a JSON
// header, then the tensors. Python reads these files with no help from us.
private import FoundationEssentials
private import Glibc

/// The element types that are written and read.
package enum TensorType: String, Sendable, Codable {
    case float32 = "F32"
    case int32 = "I32"
    case int64 = "I64"
    case uint8 = "U8"

    package var width: Int {
        switch self {
        case .float32, .int32: 4
        case .int64: 8
        case .uint8: 1
        }
    }
}

/// A number that a tensor holds.
package protocol TensorElement: BitwiseCopyable, Sendable {
    static var tensorType: TensorType { get }
}

extension Float: TensorElement { package static var tensorType: TensorType { .float32 } }
extension Int32: TensorElement { package static var tensorType: TensorType { .int32 } }
extension Int64: TensorElement { package static var tensorType: TensorType { .int64 } }
extension UInt8: TensorElement { package static var tensorType: TensorType { .uint8 } }

/// A tensor to be written; row-major.
package enum Tensor {
    case float32([Float], shape: [Int])
    case int32([Int32], shape: [Int])
    case int64([Int64], shape: [Int])
    case uint8([UInt8], shape: [Int])

    fileprivate var layout: (type: TensorType, shape: [Int]) {
        switch self {
        case .float32(_, let shape): (.float32, shape)
        case .int32(_, let shape): (.int32, shape)
        case .int64(_, let shape): (.int64, shape)
        case .uint8(_, let shape): (.uint8, shape)
        }
    }
}

private struct Entry: Codable {
    let dtype: String
    let shape: [Int]
    let data_offsets: [Int]
}

package enum SafeTensors {
    /// Writes a new file and syncs it; equal tensors make equal bytes.
    package static func write(
        _ tensors: [String: Tensor],
        to path: String
    ) throws(PredictorError) {
        try write(tensors.map { StreamedTensor($0.key, $0.value) }, to: path)
    }

    /// The same with tensors whose values are worked out while they are written.
    static func write(_ tensors: [StreamedTensor], to path: String) throws(PredictorError) {
        let writer = try TensorWriter(path, tensors.map(\.declaration))
        let byName = Dictionary(uniqueKeysWithValues: tensors.map { ($0.declaration.name, $0) })
        for name in writer.names { try byName[name]?.write(writer) }
        try writer.finish()
    }
}

/// A tensor that is made while it is written.
struct StreamedTensor {
    let declaration: TensorWriter.Declaration
    fileprivate let write: (TensorWriter) throws(PredictorError) -> Void

    /// A vector of which `body` appends the values.
    init<T: TensorElement>(
        _ name: String,
        _ type: T.Type = T.self,
        count: Int,
        _ body: @escaping (TensorSink<T>) throws(PredictorError) -> Void
    ) {
        declaration = .init(name: name, type: T.tensorType, shape: [count])
        write = { writer throws(PredictorError) in
            let sink = TensorSink<T>(writer)
            try body(sink)
            try sink.flush()
        }
    }

    /// A vector of the values at 0..<count.
    init<T: TensorElement>(_ name: String, count: Int, _ value: @escaping (Int) -> T) {
        declaration = .init(name: name, type: T.tensorType, shape: [count])
        write = { writer throws(PredictorError) in
            for first in stride(from: 0, to: count, by: 1 << 16) {
                try writer.write((first..<min(first + 1 << 16, count)).map(value))
            }
        }
    }

    fileprivate init(_ name: String, _ tensor: Tensor) {
        let layout = tensor.layout
        declaration = .init(name: name, type: layout.type, shape: layout.shape)
        write = { writer throws(PredictorError) in
            switch tensor {
            case .float32(let values, _): try writer.write(values)
            case .int32(let values, _): try writer.write(values)
            case .int64(let values, _): try writer.write(values)
            case .uint8(let values, _): try writer.write(values)
            }
        }
    }
}

/// Collects values, and writes them when they are many.
final class TensorSink<Element: TensorElement> {
    private static var most: Int { 1 << 16 }

    private let writer: TensorWriter
    private var values: [Element] = []

    fileprivate init(_ writer: TensorWriter) {
        self.writer = writer
        values.reserveCapacity(Self.most)
    }

    @inline(__always)
    func append(_ value: Element) throws(PredictorError) {
        values.append(value)
        if values.count >= Self.most { try flush() }
    }

    func append(contentsOf more: some Sequence<Element>) throws(PredictorError) {
        for value in more { try append(value) }
    }

    fileprivate func flush() throws(PredictorError) {
        try writer.write(values)
        values.removeAll(keepingCapacity: true)
    }
}

/// Writes a file of which the shapes are known before and the values come piece by piece.
package final class TensorWriter {
    package struct Declaration {
        let name: String
        let type: TensorType
        let shape: [Int]

        package init(name: String, type: TensorType, shape: [Int]) {
            self.name = name
            self.type = type
            self.shape = shape
        }

        var byteCount: Int { shape.reduce(type.width, *) }
    }

    /// The order in which the values must come: the widest elements first, so that all are aligned
    /// and can be mapped.
    package let names: [String]
    private let file: OutputFile
    private let byteCount: Int

    package init(_ path: String, _ tensors: [Declaration]) throws(PredictorError) {
        let ordered = tensors.sorted { ($1.type.width, $0.name) < ($0.type.width, $1.name) }
        names = ordered.map(\.name)
        var entries: [String: Entry] = [:]
        var offset = 0
        for tensor in ordered {
            let end = offset + tensor.byteCount
            entries[tensor.name] = Entry(
                dtype: tensor.type.rawValue,
                shape: tensor.shape,
                data_offsets: [offset, end]
            )
            offset = end
        }
        var header = stableJSON(entries)
        while header.count % 8 != 0 { header.append(UInt8(ascii: " ")) }
        file = try OutputFile(path)
        try file.write([Int64(header.count).littleEndian])
        try file.write(header)
        byteCount = 8 + header.count + offset
    }

    package func write<T: TensorElement>(_ values: [T]) throws(PredictorError) {
        try file.write(values)
    }

    /// Syncs the file.
    package func finish() throws(PredictorError) {
        precondition(file.byteCount == byteCount, "the values are not those that were declared")
        try file.sync()
    }
}

/// The values of a tensor, one after the other: in a file that is mapped into memory, where what is not
/// looked at is not read, or in memory of their own.
@safe package struct Column<Element: TensorElement>: RandomAccessCollection, Sendable {
    /// What the values live as long as.
    private let memory: any AnyObject & Sendable
    private nonisolated(unsafe) let base: UnsafePointer<Element>
    package let count: Int

    package init(_ values: [Element]) {
        let copy = OwnMemory(values)
        unsafe self.init(copy, UnsafePointer(copy.base), count: values.count)
    }

    fileprivate init(_ memory: any AnyObject & Sendable, _ base: UnsafePointer<Element>, count: Int)
    {
        self.memory = memory
        unsafe self.base = base
        self.count = count
    }

    package var startIndex: Int { 0 }
    package var endIndex: Int { count }

    @inline(__always)
    package subscript(index: Int) -> Element {
        precondition(index >= 0 && index < count)
        return unsafe base[index]
    }

    package func withContiguousStorageIfAvailable<R>(
        _ body: (UnsafeBufferPointer<Element>) throws -> R
    ) rethrows -> R? {
        try unsafe body(UnsafeBufferPointer(start: base, count: count))
    }
}

@safe private final class OwnMemory<Element: TensorElement>: Sendable {
    nonisolated(unsafe) let base: UnsafeMutablePointer<Element>

    init(_ values: [Element]) {
        unsafe base = .allocate(capacity: values.count)
        unsafe values.withUnsafeBufferPointer { values in
            guard let source = values.baseAddress else { return }
            unsafe base.initialize(from: source, count: values.count)
        }
    }

    deinit { unsafe base.deallocate() }
}

@safe private final class MappedFile: Sendable {
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    init(_ path: String) throws(PredictorError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .file(path, unsafe String(cString: strerror(errno))) }
        defer { close(descriptor) }
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_size >= 8,
            let memory = unsafe mmap(
                nil,
                Int(status.st_size),
                PROT_READ,
                MAP_PRIVATE,
                descriptor,
                0
            ), unsafe memory != MAP_FAILED
        else { throw .file(path, "is not a safetensors file, or is cut short") }
        unsafe bytes = UnsafeRawBufferPointer(start: memory, count: Int(status.st_size))
    }

    deinit { _ = unsafe munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count) }
}

/// An open safetensors file.
package struct TensorFile: Sendable {
    private let path: String
    private let memory: MappedFile
    private let dataStart: Int
    private let entries: [String: Entry]

    package init(_ path: String) throws(PredictorError) {
        memory = try MappedFile(path)
        self.path = path
        let bytes = unsafe memory.bytes
        let length = unsafe Int(clamping: bytes.loadUnaligned(as: Int64.self))
        guard length > 0, length <= bytes.count - 8, length < 100_000_000,
            let entries = unsafe try? JSONDecoder().decode(
                [String: Entry].self,
                from: Data(bytes[8..<8 + length])
            )
        else { throw .file(path, "is not a safetensors file, or is cut short") }
        dataStart = 8 + length
        self.entries = entries.filter { $0.key != "__metadata__" }
        for (name, entry) in self.entries {
            try check(name, entry, dataCount: bytes.count - dataStart)
        }
    }

    private func check(_ name: String, _ entry: Entry, dataCount: Int) throws(PredictorError) {
        guard let type = TensorType(rawValue: entry.dtype) else { return }
        var size = type.width
        for extent in entry.shape {
            let (product, isOver) = size.multipliedReportingOverflow(by: extent)
            guard extent >= 0, !isOver else {
                throw .file(path, "tensor \"\(name)\" has an impossible shape")
            }
            size = product
        }
        let offsets = entry.data_offsets
        guard offsets.count == 2, offsets[0] >= 0, offsets[1] <= dataCount,
            offsets[1] - offsets[0] == size
        else { throw .file(path, "tensor \"\(name)\" does not fit the file: it is cut short") }
    }

    package func has(_ name: String) -> Bool { entries[name] != nil }

    package func shape(_ name: String) throws(PredictorError) -> [Int] { try entry(name).shape }

    package func column<T: TensorElement>(
        _ name: String,
        _ type: T.Type = T.self
    ) throws(PredictorError) -> Column<T> {
        let entry = try entry(name)
        guard entry.dtype == T.tensorType.rawValue else {
            throw .file(path, "tensor \"\(name)\" is \(entry.dtype), not \(T.tensorType.rawValue)")
        }
        let start = dataStart + entry.data_offsets[0]
        guard start % T.tensorType.width == 0, let base = unsafe memory.bytes.baseAddress else {
            throw .file(path, "tensor \"\(name)\" is not aligned")
        }
        let count = (entry.data_offsets[1] - entry.data_offsets[0]) / T.tensorType.width
        return unsafe Column(memory, (base + start).assumingMemoryBound(to: T.self), count: count)
    }

    package func float32(_ name: String) throws(PredictorError) -> [Float] {
        Array(try column(name))
    }
    package func int32(_ name: String) throws(PredictorError) -> [Int32] { Array(try column(name)) }
    package func int64(_ name: String) throws(PredictorError) -> [Int64] { Array(try column(name)) }
    package func uint8(_ name: String) throws(PredictorError) -> [UInt8] { Array(try column(name)) }

    private func entry(_ name: String) throws(PredictorError) -> Entry {
        guard let entry = entries[name] else { throw .file(path, "has no tensor \"\(name)\"") }
        return entry
    }
}
