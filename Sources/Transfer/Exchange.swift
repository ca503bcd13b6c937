// SPDX-License-Identifier: Apache-2.0
private import CCurl
private import Crypto
private import Glibc

/// One request and its answer, of which the body is read bit by bit.
///
/// Used by one thread at a time.
@safe final class Exchange: @unchecked Sendable {
    private static let isReady: Bool = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private let name: String
    private let easy: UnsafeMutableRawPointer
    private let multi: UnsafeMutableRawPointer
    private var list: UnsafeMutablePointer<curl_slist>?
    private let check: () throws -> Void
    private let answer = Answer()
    private var isOver = false
    private var failure: TransferError?

    /// What the callbacks of libcurl fill and drain; it outlives the handles.
    private final class Answer {
        var status = 0
        var headers: [String: String] = [:]
        var bytes: [UInt8] = []
        var taken = 0
        var upload: Upload?

        func take(header line: String) {
            if line.hasPrefix("HTTP/") {
                // Another answer: what came before was a redirect, or asked to go on.
                headers = [:]
                status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
                return
            }
            guard let colon = line.firstIndex(of: ":") else { return }
            var value = line[line.index(after: colon)...]
            while let first = value.first, first.isWhitespace { value.removeFirst() }
            while let last = value.last, last.isWhitespace { value.removeLast() }
            headers[line[..<colon].lowercased()] = String(value)
        }
    }

    private final class Upload {
        private var bytes: [UInt8]
        private var place = 0
        private let descriptor: Int32
        private var offset: Int
        private var rest: Int

        init(_ body: HTTPRequest.Body) throws(TransferError) {
            switch body {
            case .none: (bytes, descriptor, offset, rest) = ([], -1, 0, 0)
            case .bytes(let all): (bytes, descriptor, offset, rest) = (all, -1, 0, all.count)
            case .file(let path, let offset, let count):
                let file = unsafe open(path, O_RDONLY | O_CLOEXEC)
                guard file >= 0 else {
                    throw .refused(path, unsafe String(cString: strerror(errno)))
                }
                (bytes, descriptor, self.offset, rest) = ([], file, offset, count)
            }
        }

        deinit { if descriptor >= 0 { close(descriptor) } }

        /// How many bytes were put there; nil when the file cannot be read.
        func read(into buffer: UnsafeMutableRawBufferPointer) -> Int? {
            let wanted = min(buffer.count, rest)
            guard wanted > 0 else { return 0 }
            if descriptor >= 0 {
                let count = unsafe pread(descriptor, buffer.baseAddress, wanted, offset)
                guard count > 0 else { return nil }
                offset += count
                rest -= count
                return count
            }
            unsafe buffer.copyBytes(from: bytes[place..<place + wanted])
            place += wanted
            rest -= wanted
            return wanted
        }
    }

    /// Sends the request; `check` is called while nothing comes, and may throw to stop.
    init(
        _ request: HTTPRequest,
        from first: Int = 0,
        check: @escaping () throws -> Void
    ) throws(TransferError) {
        name = request.name
        self.check = check
        guard Self.isReady, let easy = unsafe curl_easy_init(), let multi = unsafe curl_multi_init()
        else { throw .unreachable(request.name, "libcurl cannot be started") }
        unsafe self.easy = easy
        unsafe self.multi = multi
        try configure(request, from: first)
        unsafe curl_multi_add_handle(multi, easy)
    }

    deinit {
        unsafe curl_multi_remove_handle(multi, easy)
        unsafe curl_easy_cleanup(easy)
        unsafe curl_multi_cleanup(multi)
        unsafe curl_slist_free_all(list)
    }

    // MARK: request

    private func configure(
        _ request: HTTPRequest,
        from first: Int
    ) throws(TransferError) {
        unsafe larder_curl_set_text(easy, CURLOPT_URL, request.url)
        unsafe larder_curl_set_text(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        unsafe larder_curl_set_text(easy, CURLOPT_USERAGENT, "larder")
        unsafe larder_curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        unsafe larder_curl_set_long(easy, CURLOPT_CONNECTTIMEOUT, 10)
        // Less than a byte a second for so long is silence.
        unsafe larder_curl_set_long(easy, CURLOPT_LOW_SPEED_LIMIT, 1)
        unsafe larder_curl_set_long(easy, CURLOPT_LOW_SPEED_TIME, 30)
        if let timeout = request.timeout {
            unsafe larder_curl_set_long(easy, CURLOPT_TIMEOUT, timeout)
        }
        var headers = request.headers
        // Servers that do not know it are waited for in vain.
        headers["Expect"] = ""
        switch request.method {
        case "GET": break
        case "HEAD": unsafe larder_curl_set_long(easy, CURLOPT_NOBODY, 1)
        default:
            unsafe larder_curl_set_text(easy, CURLOPT_CUSTOMREQUEST, request.method)
            unsafe larder_curl_set_long(easy, CURLOPT_UPLOAD, 1)
            unsafe larder_curl_set_size(easy, CURLOPT_INFILESIZE_LARGE, request.body.count)
        }
        answer.upload = try Upload(request.body)
        if let signer = request.signer {
            let signed = S3Signature.headers(
                request.method,
                request.url,
                payload: try Self.hash(request.body),
                signer,
                at: time(nil)
            )
            headers.merge(signed) { $1 }
        } else {
            // What is sent goes where it was meant to go, or nowhere.
            if ["GET", "HEAD"].contains(request.method) {
                unsafe larder_curl_set_long(easy, CURLOPT_FOLLOWLOCATION, 1)
                unsafe larder_curl_set_long(easy, CURLOPT_MAXREDIRS, 5)
            }
            unsafe larder_curl_set_long(easy, CURLOPT_NETRC, Int(CURL_NETRC_OPTIONAL.rawValue))
        }
        if first > 0 { headers["Range"] = "bytes=\(first)-" }
        for (header, value) in headers.sorted(by: { $0.key < $1.key }) {
            unsafe list = curl_slist_append(list, "\(header): \(value)")
        }
        unsafe larder_curl_set_pointer(easy, CURLOPT_HTTPHEADER, list)
        let context = unsafe Unmanaged.passUnretained(answer).toOpaque()
        unsafe larder_curl_set_callback(easy, CURLOPT_HEADERFUNCTION) { bytes, _, count, context in
            guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
            let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
            answer.take(
                header: unsafe String(
                    decoding: UnsafeRawBufferPointer(start: bytes, count: count),
                    as: UTF8.self
                )
            )
            return count
        }
        unsafe larder_curl_set_pointer(easy, CURLOPT_HEADERDATA, context)
        unsafe larder_curl_set_callback(easy, CURLOPT_WRITEFUNCTION) { bytes, _, count, context in
            guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
            let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
            unsafe answer.bytes.append(
                contentsOf: UnsafeRawBufferPointer(start: bytes, count: count)
            )
            return count
        }
        unsafe larder_curl_set_pointer(easy, CURLOPT_WRITEDATA, context)
        unsafe larder_curl_set_callback(easy, CURLOPT_READFUNCTION) { bytes, size, count, context in
            guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
            let answer = unsafe Unmanaged<Answer>.fromOpaque(context).takeUnretainedValue()
            let buffer = unsafe UnsafeMutableRawBufferPointer(start: bytes, count: size * count)
            return unsafe answer.upload?.read(into: buffer) ?? Int(CURL_READFUNC_ABORT)
        }
        unsafe larder_curl_set_pointer(easy, CURLOPT_READDATA, context)
    }

    /// What S3 compares the body with that arrives.
    private static func hash(_ body: HTTPRequest.Body) throws(TransferError) -> String {
        var hash = SHA256()
        let source = try Upload(body)
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = unsafe buffer.withUnsafeMutableBytes { unsafe source.read(into: $0) }
            guard let count else { throw .refused("an upload", "its file cannot be read") }
            if count == 0 { break }
            hash.update(data: buffer[..<count])
        }
        return hash.finalize().hex
    }

    // MARK: answer

    var status: Int { answer.status }
    var headers: [String: String] { answer.headers }

    /// Waits for the first byte of the body, or its end.
    func waitForAnswer() throws {
        while answer.bytes.isEmpty && !isOver { try step() }
        if answer.bytes.isEmpty, let failure { throw failure }
    }

    /// Fills `buffer` from its start and returns how many bytes came; 0 at the end.
    ///
    /// All that came is given out before a connection that broke is an error.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        while answer.taken == answer.bytes.count && !isOver { try step() }
        let count = min(buffer.count, answer.bytes.count - answer.taken)
        if count == 0, let failure { throw failure }
        unsafe buffer.copyBytes(from: answer.bytes[answer.taken..<answer.taken + count])
        answer.taken += count
        if answer.taken == answer.bytes.count {
            answer.bytes.removeAll(keepingCapacity: true)
            answer.taken = 0
        }
        return count
    }

    /// All of it.
    func response() throws -> HTTPResponse {
        while !isOver { try step() }
        if let failure { throw failure }
        return HTTPResponse(
            status: status,
            headers: headers,
            body: Array(answer.bytes[answer.taken...])
        )
    }

    private func step() throws {
        var running: Int32 = 0
        var code = unsafe curl_multi_perform(multi, &running)
        if code == CURLM_OK, running > 0, answer.taken == answer.bytes.count {
            code = unsafe curl_multi_poll(multi, nil, 0, 250, nil)
            try check()
        }
        guard code == CURLM_OK else {
            throw TransferError.unreachable(
                name,
                unsafe String(cString: curl_multi_strerror(code))
            )
        }
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(multi, &left) {
            guard unsafe message.pointee.msg == CURLMSG_DONE else { continue }
            isOver = true
            let result = unsafe message.pointee.data.result
            guard result != CURLE_OK else { continue }
            let reason = unsafe String(cString: curl_easy_strerror(result))
            // Nothing but another certificate or address would help.
            let isFinal = [
                CURLE_PEER_FAILED_VERIFICATION, CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT,
                CURLE_TOO_MANY_REDIRECTS,
            ].contains { $0 == result }
            failure = isFinal ? .refused(name, reason) : .unreachable(name, reason)
        }
    }
}
