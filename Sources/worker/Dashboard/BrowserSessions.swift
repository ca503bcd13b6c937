// SPDX-License-Identifier: Apache-2.0
import Crypto
import Foundation
import Hummingbird

/// Browsers that have signed in with the server's token: a cookie says so, and until when.
///
/// The cookie is `expiry.nonce.code`, the code an HMAC under a key made of the token. Nothing is
/// kept here: every server with the same token knows it, and another token ends all sessions.
struct BrowserSessions: Sendable {
    private static let cookie = "larder"
    private static let lifetime = 12 * 3600

    private let key: SymmetricKey
    private let digest: SHA256Digest

    init(token: String) {
        key = SymmetricKey(data: SHA256.hash(data: Data("larder browser session\n\(token)".utf8)))
        digest = SHA256.hash(data: Data(token.utf8))
    }

    /// Digests compare in the same time whatever they are.
    func isToken(_ text: String) -> Bool { SHA256.hash(data: Data(text.utf8)) == digest }

    /// What a browser sends that has signed in and whose time is not over.
    func session(of headers: HTTPFields, now: Date = .now) -> String? {
        for field in headers[values: .cookie] {
            for pair in field.split(separator: ";") {
                let halves = pair.split(separator: "=", maxSplits: 1)
                guard halves.count == 2, halves[0].drop(while: \.isWhitespace) == Self.cookie
                else { continue }
                let value = String(halves[1])
                let parts = value.split(separator: ".")
                guard parts.count == 3, let expiry = Int(parts[0]),
                    Double(expiry) > now.timeIntervalSince1970,
                    isCode(String(parts[2]), of: "session \(parts[0]).\(parts[1])")
                else { continue }
                return value
            }
        }
        return nil
    }

    /// The header that signs a browser in.
    func opening(isSecure: Bool, now: Date = .now) -> String {
        let expiry = Int(now.timeIntervalSince1970) + Self.lifetime
        let content = "\(expiry).\(UUID().uuidString.lowercased())"
        return setCookie(
            "\(content).\(code(of: "session \(content)"))",
            Self.lifetime,
            isSecure: isSecure
        )
    }

    /// The header that signs it out.
    func closing(isSecure: Bool) -> String { setCookie("", 0, isSecure: isSecure) }

    /// No script reads it, and no other site's page sends it.
    private func setCookie(_ value: String, _ age: Int, isSecure: Bool) -> String {
        "\(Self.cookie)=\(value); Path=/; Max-Age=\(age); HttpOnly; SameSite=Strict"
            + (isSecure ? "; Secure" : "")
    }

    /// What the forms of a session's pages carry, and no other site knows.
    func formToken(of session: String) -> String { code(of: "form \(session)") }

    func isFormToken(_ text: String, of session: String) -> Bool {
        isCode(text, of: "form \(session)")
    }

    private func code(of content: String) -> String {
        HMAC<SHA256>.authenticationCode(for: Data(content.utf8), using: key)
            .map { String(format: "%02x", $0) }.joined()
    }

    private func isCode(_ text: String, of content: String) -> Bool {
        var code: [UInt8] = []
        var rest = Substring(text)
        while rest.count >= 2, let byte = UInt8(rest.prefix(2), radix: 16) {
            code.append(byte)
            rest = rest.dropFirst(2)
        }
        return rest.isEmpty
            && HMAC<SHA256>.isValidAuthenticationCode(
                code,
                authenticating: Data(content.utf8),
                using: key
            )
    }
}
