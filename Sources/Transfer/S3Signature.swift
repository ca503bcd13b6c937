// SPDX-License-Identifier: Apache-2.0
private import Crypto
private import Foundation
private import Glibc

/// Amazon's Signature Version 4 (docs.aws.amazon.com, "Signing AWS API requests").
///
/// Not libcurl's own: before 8.3 it does not bring the query into the form that is signed (curl
/// #11806), and what Debian 12's 7.88 signs was refused by a server that checks.
struct S3Signature {
    /// Headers to send with the request, the signature among them.
    ///
    /// `payload` is the SHA-256 of the body in hexadecimal digits. The query of the address must be
    /// in order and encoded.
    static func headers(
        _ method: String,
        _ url: String,
        payload: String,
        _ credentials: S3Credentials,
        at time: Int
    ) -> [String: String] {
        guard let parts = URLComponents(string: url), let host = parts.percentEncodedHost else {
            return [:]
        }
        var headers = [
            "host": parts.port.map { "\(host):\($0)" } ?? host,
            "x-amz-content-sha256": payload,
            "x-amz-date": date(time),
        ]
        if let token = credentials.token { headers["x-amz-security-token"] = token }
        let names = headers.keys.sorted()
        let signed = names.joined(separator: ";")
        let canonical = [
            method, parts.percentEncodedPath, parts.percentEncodedQuery ?? "",
            names.map { "\($0):\(headers[$0] ?? "")\n" }.joined(), signed, payload,
        ].joined(separator: "\n")
        let day = String(date(time).prefix(8))
        let scope = "\(day)/\(credentials.region)/s3/aws4_request"
        let text = [
            "AWS4-HMAC-SHA256", date(time), scope,
            SHA256.hash(data: Array(canonical.utf8)).hex,
        ].joined(separator: "\n")
        var key = SymmetricKey(data: Array("AWS4\(credentials.secret)".utf8))
        for part in [day, credentials.region, "s3", "aws4_request"] {
            let code = HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key)
            key = SymmetricKey(data: Array(code))
        }
        let signature = Array(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key))
        headers["Authorization"] = """
            AWS4-HMAC-SHA256 Credential=\(credentials.keyID)/\(scope), SignedHeaders=\(signed), \
            Signature=\(signature.hex)
            """
        return headers
    }

    /// 20150830T123600Z.
    private static func date(_ time: Int) -> String {
        var moment = time_t(time)
        var parts = unsafe tm()
        unsafe gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 20)
        let count = unsafe strftime(&text, text.count, "%Y%m%dT%H%M%SZ", &parts)
        return String(decoding: text[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension Sequence<UInt8> {
    /// Two hexadecimal digits a byte.
    package var hex: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
