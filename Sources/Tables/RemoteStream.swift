// SPDX-License-Identifier: Apache-2.0
import Transfer

/// The bytes of an http(s):// or s3:// address.
final class RemoteStream: ByteStream {
    private let download: Download

    var name: String { download.name }
    var consumed: Int { download.count }

    init(_ address: RemoteAddress, check: @escaping Table.Check) throws {
        download = try asTableError {
            try Download(address.request, sha256: address.sha256, check: check)
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        try asTableError { unsafe try download.read(into: buffer) }
    }
}

/// An address of one file.
struct RemoteAddress: Sendable {
    let request: HTTPRequest
    let sha256: String?

    static func isOne(_ text: String) -> Bool {
        ["http://", "https://", "s3://"].contains { text.hasPrefix($0) }
    }

    /// Without its query, which may hold a signature; in s3:// a question mark is of a pattern.
    static func name(of url: String) -> String {
        url.hasPrefix("s3://") ? url : String(url.prefix { $0 != "?" })
    }

    /// The addresses that a URL means; of s3:// it may be a pattern, and then they are in the order
    /// of their names.
    static func all(
        _ url: String,
        sha256: String?,
        check: @escaping Table.Check
    ) throws -> [RemoteAddress] {
        guard let (bucket, key) = S3.parts(of: url) else {
            return [
                RemoteAddress(request: HTTPRequest("GET", url, name: name(of: url)), sha256: sha256)
            ]
        }
        return try asTableError {
            let store = try S3(bucket: bucket)
            let wild = key.firstIndex { "*?[".contains($0) }
            guard let wild else {
                return [RemoteAddress(request: store.request(key: key), sha256: sha256)]
            }
            let keys = try store.list(prefix: String(key[..<wild]), check: check).map(\.key)
                // What looks like a folder in a browser is an empty object.
                .filter { matches($0, key) && !$0.hasSuffix("/") }
            guard !keys.isEmpty else { throw TableError.unreadable(url, "no object matches") }
            return keys.map { RemoteAddress(request: store.request(key: $0), sha256: nil) }
        }
    }
}

private func asTableError<T>(_ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch let error as TransferError {
        switch error {
        case .unreachable(let what, let reason): throw TableError.unreadable(what, reason)
        case .refused(let what, let reason, let hint):
            throw TableError.input("\(what): \(reason)", hint: hint)
        }
    }
}

extension Table {
    /// What is in the files changes when this does; nil where nobody can say.
    package static func versions(
        ofAddresses url: String,
        check: @escaping Check
    ) throws -> [String]? {
        var versions: [String] = []
        for address in try RemoteAddress.all(url, sha256: nil, check: check) {
            let version = try asTableError {
                try Download.version(of: address.request, check: check)
            }
            guard let version else { return nil }
            versions.append("\(address.request.name) \(version)")
        }
        return versions
    }
}
