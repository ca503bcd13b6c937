// SPDX-License-Identifier: Apache-2.0

package struct HTTPRequest: Sendable {
    package enum Body: Sendable {
        case none
        case bytes([UInt8])
        /// A part of a file.
        case file(String, offset: Int, count: Int)

        var count: Int {
            switch self {
            case .none: 0
            case .bytes(let bytes): bytes.count
            case .file(_, _, let count): count
            }
        }
    }

    package var method: String
    package var url: String
    package var headers: [String: String]
    package var body: Body
    /// What messages call it.
    package var name: String
    /// Seconds for all of it; nil: as long as something comes.
    package var timeout: Int?
    /// Signed with Amazon's version 4, as S3 wants it.
    package var signer: S3Credentials?

    package init(
        _ method: String,
        _ url: String,
        headers: [String: String] = [:],
        body: Body = .none,
        name: String,
        signer: S3Credentials? = nil
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.name = name
        self.signer = signer
    }
}

package struct HTTPResponse: Sendable {
    package var status: Int
    /// Names in small letters.
    package var headers: [String: String]
    package var body: [UInt8]
}
