// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Who asks S3; never printed.
package struct S3Credentials: Sendable {
    let keyID: String
    let secret: String
    let token: String?
    package let region: String
}

/// A bucket of S3 or of what speaks like it, and a prefix of its keys.
package struct S3: Sendable {
    package struct Object: Sendable, Equatable {
        package let key: String
        package let size: Int
    }

    /// Files larger than this go up in parts.
    package static let partSize = 16 << 20

    package let bucket: String
    private let base: String
    private let credentials: S3Credentials
    private let partSize: Int

    /// Reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION and
    /// AWS_ENDPOINT_URL, as Amazon's own tools do.
    package init(
        bucket: String,
        environment: [String: String] = currentEnvironment(),
        partSize: Int = partSize
    ) throws(TransferError) {
        func value(_ names: String...) -> String? {
            names.lazy.compactMap { environment[$0] }.first { !$0.isEmpty }
        }
        guard let keyID = value("AWS_ACCESS_KEY_ID"), let secret = value("AWS_SECRET_ACCESS_KEY")
        else {
            throw .refused(
                "s3://\(bucket)",
                "there are no credentials",
                hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where the worker runs"
            )
        }
        credentials = S3Credentials(
            keyID: keyID,
            secret: secret,
            token: value("AWS_SESSION_TOKEN"),
            region: value("AWS_REGION", "AWS_DEFAULT_REGION") ?? "us-east-1"
        )
        self.bucket = bucket
        self.partSize = partSize
        if let endpoint = value("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") {
            base = (endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint) + "/" + bucket
        } else {
            // A certificate for one name in front does not hold for a name with dots.
            base =
                bucket.contains(".")
                ? "https://s3.\(credentials.region).amazonaws.com/\(bucket)"
                : "https://\(bucket).s3.\(credentials.region).amazonaws.com"
        }
    }

    /// `s3://bucket/key` in its parts; nil if it is no such address.
    package static func parts(of url: String) -> (bucket: String, key: String)? {
        guard url.hasPrefix("s3://") else { return nil }
        let rest = url.dropFirst(5)
        let bucket = rest.prefix { $0 != "/" }
        guard !bucket.isEmpty else { return nil }
        return (String(bucket), String(rest.dropFirst(bucket.count + 1)))
    }

    private func name(_ key: String) -> String { "s3://\(bucket)/\(key)" }

    /// A request for a key.
    ///
    /// The query's names must be in order, its values encoded: both are signed
    /// as they stand.
    package func request(
        _ method: String = "GET",
        key: String,
        query: String = "",
        headers: [String: String] = [:],
        body: HTTPRequest.Body = .none
    ) -> HTTPRequest {
        HTTPRequest(
            method,
            base + "/" + Self.encode(key, keeping: "/") + (query.isEmpty ? "" : "?" + query),
            headers: headers,
            body: body,
            name: name(key),
            signer: credentials
        )
    }

    private func perform(_ request: HTTPRequest, _ check: @escaping HTTP.Check) throws
        -> HTTPResponse
    {
        let answer = try HTTP.perform(request, check: check)
        guard (200..<300).contains(answer.status) else { throw answer.error(request.name) }
        return answer
    }

    // MARK: reading

    /// The objects whose keys begin so, in the order of their keys.
    package func list(
        prefix: String,
        pageSize: Int = 1000,
        check: @escaping HTTP.Check = {}
    ) throws -> [Object] {
        var objects: [Object] = []
        var token: String?
        repeat {
            let from = token.map { "continuation-token=\(Self.encode($0))&" } ?? ""
            let answer = try perform(
                request(
                    key: "",
                    query: from + "encoding-type=url&list-type=2&max-keys=\(pageSize)"
                        + "&prefix=\(Self.encode(prefix))"
                ),
                check
            )
            for part in Self.fields("Contents", in: answer.body) {
                guard let key = Self.field("Key", in: part).flatMap(Self.decode),
                    let size = Self.field("Size", in: part).flatMap({ Int($0) })
                else { throw TransferError.refused(name(prefix), "the list cannot be read") }
                objects.append(Object(key: key, size: size))
            }
            token = Self.field("NextContinuationToken", in: answer.body)
        } while token != nil
        return objects
    }

    /// False when there is none.
    package func exists(_ key: String, check: @escaping HTTP.Check = {}) throws -> Bool {
        let answer = try HTTP.perform(request("HEAD", key: key), check: check)
        if answer.status == 404 { return false }
        guard answer.status == 200 else { throw answer.error(name(key)) }
        return true
    }

    // MARK: writing

    /// Uploads a file; nothing is to be seen under the key before all of it is there.
    package func put(file path: String, _ key: String, check: @escaping HTTP.Check = {}) throws {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else {
            throw TransferError.refused(path, unsafe String(cString: strerror(errno)))
        }
        let size = Int(status.st_size)
        guard size > partSize else {
            _ = try perform(
                request("PUT", key: key, body: .file(path, offset: 0, count: size)),
                check
            )
            return
        }
        let answer = try perform(request("POST", key: key, query: "uploads="), check)
        guard let upload = Self.field("UploadId", in: answer.body) else {
            throw TransferError.refused(name(key), "the server begins no upload in parts")
        }
        do {
            try putParts(of: path, size: size, key, Self.encode(upload), check)
        } catch {
            // What came up so far costs its owner money until it is removed; if that fails too, the
            // first error is the one to tell.
            _ = try? HTTP.perform(
                request("DELETE", key: key, query: "uploadId=\(Self.encode(upload))")
            )
            throw error
        }
    }

    private func putParts(
        of path: String,
        size: Int,
        _ key: String,
        _ upload: String,
        _ check: @escaping HTTP.Check
    ) throws {
        // Ten thousand parts are the most there may be.
        let step = max(partSize, (size + 9_999) / 10_000)
        var list = ""
        for (place, offset) in stride(from: 0, to: size, by: step).enumerated() {
            let answer = try perform(
                request(
                    "PUT",
                    key: key,
                    query: "partNumber=\(place + 1)&uploadId=\(upload)",
                    body: .file(path, offset: offset, count: min(step, size - offset))
                ),
                check
            )
            let tag = answer.headers["etag"] ?? ""
            list += "<Part><PartNumber>\(place + 1)</PartNumber><ETag>\(tag)</ETag></Part>"
        }
        let text = "<CompleteMultipartUpload>\(list)</CompleteMultipartUpload>"
        let answer = try perform(
            request("POST", key: key, query: "uploadId=\(upload)", body: .bytes(Array(text.utf8))),
            check
        )
        // This one request may fail with 200.
        guard Self.field("Code", in: answer.body) == nil else {
            throw TransferError.unreachable(
                name(key),
                Self.field("Message", in: answer.body) ?? "the parts were not put together"
            )
        }
    }

    /// It is no error if it is gone.
    package func remove(_ key: String, check: @escaping HTTP.Check = {}) throws {
        _ = try perform(request("DELETE", key: key), check)
    }

    // MARK: texts

    /// Percent-encodes all but letters, digits, `-._~` and what is to be kept (RFC 3986).
    static func encode(_ text: String, keeping kept: String = "") -> String {
        var result = ""
        for byte in text.utf8 {
            let scalar = Unicode.Scalar(byte)
            let isPlain =
                byte < 0x80
                && (scalar.properties.isAlphabetic || (48...57).contains(byte)
                    || "-._~".unicodeScalars.contains(scalar)
                    || kept.unicodeScalars.contains(scalar))
            if isPlain {
                result.unicodeScalars.append(scalar)
            } else {
                let digits = String(byte, radix: 16, uppercase: true)
                result += "%" + (digits.count < 2 ? "0" : "") + digits
            }
        }
        return result
    }

    static func decode(_ text: String) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte == UInt8(ascii: "+") ? UInt8(ascii: " ") : byte)
                continue
            }
            guard rest.count >= 2, let value = UInt8(String(rest.prefix(2)) ?? "", radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    /// What stands between the first `<name>` and `</name>`; keys are asked for in a form without
    /// entities, and nothing else that is read has any.
    static func field(_ name: String, in body: [UInt8]) -> String? {
        fields(name, in: body).first.map { String(decoding: $0, as: UTF8.self) }
    }

    private static func fields(_ name: String, in body: [UInt8]) -> [[UInt8]] {
        let (open, close) = (Array("<\(name)>".utf8), Array("</\(name)>".utf8))
        var found: [[UInt8]] = []
        var rest = body[...]
        while let start = rest.firstRange(of: open),
            let end = rest[start.upperBound...].firstRange(of: close)
        {
            found.append(Array(rest[start.upperBound..<end.lowerBound]))
            rest = rest[end.upperBound...]
        }
        return found
    }

    package static func currentEnvironment() -> [String: String] {
        var result: [String: String] = [:]
        for name in [
            "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION",
            "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL",
        ] {
            if let value = unsafe getenv(name) { result[name] = unsafe String(cString: value) }
        }
        return result
    }
}
