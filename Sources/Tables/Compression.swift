// SPDX-License-Identifier: Apache-2.0
private import CZlib
private import CZstd

enum Compression {
    /// The bytes of a stream, decompressed if it begins as gzip or Zstandard does.
    static func open(_ stream: any ByteStream) throws -> any ByteStream {
        let source = try CompressedInput(stream)
        switch source.start {
        case let bytes where bytes.starts(with: [0x1f, 0x8b]): return try GzipStream(source)
        case [0x28, 0xb5, 0x2f, 0xfd]: return try ZstdStream(source)
        default: return source
        }
    }
}

/// A stream of which the first bytes have been looked at.
@safe private final class CompressedInput: ByteStream, @unchecked Sendable {
    private let stream: any ByteStream
    /// Up to four bytes.
    let start: [UInt8]
    private var given = 0

    var name: String { stream.name }
    var consumed: Int { stream.consumed }

    init(_ stream: any ByteStream) throws {
        self.stream = stream
        var bytes = [UInt8](repeating: 0, count: 4)
        var count = 0
        while count < 4 {
            let got = unsafe try bytes.withUnsafeMutableBytes {
                unsafe try stream.read(into: UnsafeMutableRawBufferPointer(rebasing: $0[count...]))
            }
            if got == 0 { break }
            count += got
        }
        start = Array(bytes[..<count])
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        guard given < start.count else { return unsafe try stream.read(into: buffer) }
        let count = min(buffer.count, start.count - given)
        unsafe buffer.copyBytes(from: start[given..<given + count])
        given += count
        return count
    }
}

@safe private final class GzipStream: ByteStream, @unchecked Sendable {
    private let source: CompressedInput
    private let compressed = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 1 << 17,
        alignment: 8
    )
    private let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
    private var isOver = false

    var name: String { source.name }
    var consumed: Int { source.consumed }

    init(_ source: CompressedInput) throws(TableError) {
        self.source = source
        unsafe stream.initialize(to: z_stream())
        // 15 is the largest window, and 16 more asks for gzip's header and checksum.
        let size = unsafe Int32(MemoryLayout<z_stream>.size)
        guard unsafe inflateInit2_(stream, 15 + 16, ZLIB_VERSION, size) == Z_OK else {
            throw .unreadable(source.name, "out of memory")
        }
    }

    deinit {
        _ = unsafe inflateEnd(stream)
        unsafe stream.deallocate()
        unsafe compressed.deallocate()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        unsafe stream.pointee.next_out = buffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
        let wanted = UInt32(clamping: buffer.count)
        unsafe stream.pointee.avail_out = wanted
        while !isOver, unsafe stream.pointee.avail_out == wanted {
            if unsafe stream.pointee.avail_in == 0, try !refill() {
                throw TableError.input("\(name): the gzip file is cut short")
            }
            switch unsafe inflate(stream, Z_NO_FLUSH) {
            case Z_OK, Z_BUF_ERROR: continue
            case Z_STREAM_END: try beginNextMember()
            default:
                let words = unsafe stream.pointee.msg.map { unsafe String(cString: $0) }
                throw TableError.input("\(name): \(words ?? "damaged gzip data")")
            }
        }
        return unsafe Int(wanted - stream.pointee.avail_out)
    }

    /// Files may be put one behind the other; what follows and is none is padding, as for gzip.
    private func beginNextMember() throws {
        if unsafe stream.pointee.avail_in == 0, try !refill() {
            isOver = true
        } else if unsafe stream.pointee.next_in.pointee == 0x1f {
            _ = unsafe inflateReset(stream)
        } else {
            // To its end all the same: there it is seen whether it came whole.
            while try refill() {}
            isOver = true
        }
    }

    private func refill() throws -> Bool {
        let count = unsafe try source.read(into: compressed)
        unsafe stream.pointee.next_in = compressed.baseAddress?.assumingMemoryBound(to: UInt8.self)
        unsafe stream.pointee.avail_in = UInt32(count)
        return count > 0
    }
}

@safe private final class ZstdStream: ByteStream, @unchecked Sendable {
    private let source: CompressedInput
    private let context: OpaquePointer
    private let compressed = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 1 << 17,
        alignment: 8
    )
    private var input = unsafe ZSTD_inBuffer()
    /// Zstandard's word that a frame is complete.
    private var isComplete = true

    var name: String { source.name }
    var consumed: Int { source.consumed }

    init(_ source: CompressedInput) throws(TableError) {
        self.source = source
        guard let context = unsafe ZSTD_createDCtx() else {
            throw .unreadable(source.name, "out of memory")
        }
        unsafe self.context = context
        unsafe input.src = UnsafeRawPointer(compressed.baseAddress)
    }

    deinit {
        _ = unsafe ZSTD_freeDCtx(context)
        unsafe compressed.deallocate()
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        var output = unsafe ZSTD_outBuffer(dst: buffer.baseAddress, size: buffer.count, pos: 0)
        while unsafe output.pos == 0 {
            if unsafe input.pos == input.size {
                unsafe input.size = try source.read(into: compressed)
                unsafe input.pos = 0
                if unsafe input.size == 0 {
                    guard isComplete else {
                        throw TableError.input("\(name): the Zstandard file is cut short")
                    }
                    return 0
                }
            }
            let result = unsafe ZSTD_decompressStream(context, &output, &input)
            if ZSTD_isError(result) != 0 {
                throw TableError.input(
                    "\(name): \(unsafe String(cString: ZSTD_getErrorName(result)))"
                )
            }
            isComplete = result == 0
        }
        return unsafe output.pos
    }
}
