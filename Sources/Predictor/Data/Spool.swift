// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Synchronization

/// O_TMPFILE, a macro that Swift cannot read.
private let openTemporary: Int32 = 0o20_000_000 | O_DIRECTORY

/// Memory for columns that may be larger than memory: anonymous up to a budget, behind that a
/// temporary file that the kernel pages out.
@safe final class SpoolSpace: Sendable {
    private struct State {
        var budget: Int
        var descriptor: Int32 = -1
        var fileSize = 0
        /// Where in the file each mapped piece is, by its address.
        var offsets: [UInt: Int] = [:]
        /// Pieces of the file that nobody holds any more, by their size.
        var free: [Int: [Int]] = [:]
    }

    private let folder: String
    private let state: Mutex<State>

    /// The file in `folder`, should there be one, has no name, so nothing is left behind however the
    /// process ends.
    init(folder: String, budget: Int) {
        self.folder = folder
        state = Mutex(State(budget: budget))
    }

    deinit {
        state.withLock { if $0.descriptor >= 0 { close($0.descriptor) } }
    }

    /// Zeroed pages.
    func map(byteCount: Int) throws(PredictorError) -> UnsafeMutableRawPointer {
        let place = try reserve(byteCount)
        let flags = place.descriptor < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED
        let memory = try unsafe map(byteCount, flags, place.descriptor, at: place.offset)
        if place.descriptor >= 0 {
            state.withLock { $0.offsets[UInt(bitPattern: memory)] = place.offset }
        }
        return unsafe memory
    }

    /// Gives pages back, for others.
    func unmap(_ memory: UnsafeMutableRawPointer, byteCount: Int) {
        let offset = state.withLock { $0.offsets.removeValue(forKey: UInt(bitPattern: memory)) }
        // Punches a hole, which reads as zeros again; where a file system cannot, the place is not
        // used a second time. (MADV_REMOVE, which Swift cannot see.)
        let isFree = unsafe offset == nil || madvise(memory, byteCount, 9) == 0
        _ = unsafe munmap(memory, byteCount)
        state.withLock { state in
            if let offset {
                if isFree { state.free[byteCount, default: []].append(offset) }
            } else {
                state.budget += byteCount
            }
        }
    }

    /// A place in the file, or none while the budget lasts.
    private func reserve(
        _ byteCount: Int
    ) throws(PredictorError) -> (descriptor: Int32, offset: Int) {
        try state.withLock { state throws(PredictorError) in
            if state.budget >= byteCount {
                state.budget -= byteCount
                return (-1, 0)
            }
            if state.descriptor < 0 { state.descriptor = try openFile() }
            let offset = state.free[byteCount]?.popLast() ?? state.fileSize
            // Reserved now: a full disk must be an error, not a bus error later.
            let failure = posix_fallocate(state.descriptor, offset, byteCount)
            guard failure == 0 else {
                throw .file(folder, unsafe String(cString: strerror(failure)))
            }
            state.fileSize = max(state.fileSize, offset + byteCount)
            return (state.descriptor, offset)
        }
    }

    private func openFile() throws(PredictorError) -> Int32 {
        let file = unsafe open(folder, openTemporary | O_RDWR | O_CLOEXEC, 0o600)
        if file >= 0 { return file }
        // NFS has no files without a name; one that is removed at once is nearly the same.
        var path = Array("\(folder)/spool-XXXXXX".utf8CString)
        let named = unsafe mkstemp(&path)
        guard named >= 0 else { throw .file(folder, unsafe String(cString: strerror(errno))) }
        _ = unsafe unlink(path)
        _ = fcntl(named, F_SETFD, FD_CLOEXEC)
        return named
    }

    private func map(
        _ byteCount: Int,
        _ flags: Int32,
        _ descriptor: Int32,
        at offset: Int
    ) throws(PredictorError) -> UnsafeMutableRawPointer {
        guard
            let memory = unsafe mmap(
                nil,
                byteCount,
                PROT_READ | PROT_WRITE,
                flags,
                descriptor,
                offset
            ), unsafe memory != MAP_FAILED
        else { throw .file("memory", unsafe String(cString: strerror(errno))) }
        return unsafe memory
    }
}

/// A column that grows at its end.
@safe final class Spool<Element: BitwiseCopyable>: @unchecked Sendable {
    private static var shift: Int { 20 }
    private static var mask: Int { 1 << shift - 1 }
    private static var chunkBytes: Int { MemoryLayout<Element>.stride << shift }
    /// Enough for all indices that an Int32 can hold.
    private static var mostChunks: Int { 1 << (31 - shift) }

    /// Behind a pointer that never changes, so that a look at an element is not also a check that
    /// nobody else is changing the list of chunks.
    private struct State {
        var count = 0
        var chunkCount = 0
    }

    private let space: SpoolSpace
    private let state: UnsafeMutablePointer<State>
    private let chunks: UnsafeMutablePointer<UnsafeMutablePointer<Element>>

    init(_ space: SpoolSpace) {
        self.space = space
        unsafe state = .allocate(capacity: 1)
        unsafe state.initialize(to: State())
        unsafe chunks = .allocate(capacity: Self.mostChunks)
    }

    convenience init(
        repeating value: Element,
        count: Int,
        _ space: SpoolSpace
    ) throws(PredictorError) {
        self.init(space)
        for _ in 0..<count { try append(value) }
    }

    deinit {
        for place in 0..<chunkCount {
            unsafe space.unmap(chunks[place], byteCount: Self.chunkBytes)
        }
        unsafe chunks.deallocate()
        unsafe state.deallocate()
    }

    private(set) var count: Int {
        @inline(__always) get { unsafe state.pointee.count }
        @inline(__always) set { unsafe state.pointee.count = newValue }
    }

    private var chunkCount: Int {
        @inline(__always) get { unsafe state.pointee.chunkCount }
        @inline(__always) set { unsafe state.pointee.chunkCount = newValue }
    }

    @inline(__always)
    subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < count)
            return unsafe chunks[index >> Self.shift][index & Self.mask]
        }
        set {
            precondition(index >= 0 && index < count)
            unsafe chunks[index >> Self.shift][index & Self.mask] = newValue
        }
    }

    @inline(__always)
    func append(_ value: Element) throws(PredictorError) {
        if chunkCount == count >> Self.shift { try grow() }
        unsafe chunks[count >> Self.shift][count & Self.mask] = value
        count += 1
    }

    func append(contentsOf values: [Element]) throws(PredictorError) {
        var done = 0
        while done < values.count {
            if chunkCount == count >> Self.shift { try grow() }
            let size = min(values.count - done, 1 << Self.shift - count & Self.mask)
            unsafe values.withUnsafeBufferPointer { source in
                unsafe (chunks[count >> Self.shift] + count & Self.mask)
                    .update(from: source.baseAddress.unsafelyUnwrapped + done, count: size)
            }
            count += size
            done += size
        }
    }

    /// Appends the values at these places; nil means all.
    func append(_ values: [Element], at places: [Int32]?) throws(PredictorError) {
        try append(contentsOf: places.map { $0.map { values[Int($0)] } } ?? values)
    }

    func append(contentsOf other: Spool<Element>) throws(PredictorError) {
        try other.forEachPiece { piece throws(PredictorError) in try append(contentsOf: piece) }
    }

    /// Makes it so long; new places hold zeros.
    func extend(to size: Int) throws(PredictorError) {
        while chunkCount << Self.shift < size { try grow() }
        count = max(count, size)
    }

    private func grow() throws(PredictorError) {
        guard chunkCount < Self.mostChunks else {
            throw .input("there are more than 2,147,483,647 events", hint: "see `dataset: keep:`")
        }
        let memory = unsafe try space.map(byteCount: Self.chunkBytes)
        unsafe (chunks + chunkCount).initialize(
            to: memory.bindMemory(to: Element.self, capacity: 1 << Self.shift)
        )
        chunkCount += 1
    }

    /// The values from its start, a piece at a time.
    func forEachPiece(_ body: ([Element]) throws(PredictorError) -> Void) throws(PredictorError) {
        for place in 0..<chunkCount {
            let size = min(1 << Self.shift, count - place << Self.shift)
            try unsafe body(Array(UnsafeBufferPointer(start: chunks[place], count: size)))
        }
    }
}
