// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc
package import Transfer

/// Artifacts in a bucket, the same tree as in a folder; one is there when its manifest is, which
/// goes up last.
package struct S3Artifacts: Sendable {
    private let store: S3
    private let prefix: String

    /// `s3://bucket/prefix`.
    package init(_ url: String, environment: [String: String]) throws(TransferError) {
        guard let (bucket, prefix) = S3.parts(of: url) else {
            throw .refused(url, "is no address of a bucket", hint: "such as s3://bucket/larder")
        }
        store = try S3(bucket: bucket, environment: environment)
        self.prefix = prefix.isEmpty || prefix.hasSuffix("/") ? prefix : prefix + "/"
    }

    var name: String { "s3://\(store.bucket)/\(prefix)" }

    private func key(_ kind: String, _ id: String) -> String {
        "\(prefix)\(kind)/\(id.prefix(2))/\(id)/"
    }

    /// Uploads an artifact's files, unless it is there.
    func upload(
        _ kind: String,
        _ id: String,
        from folder: String,
        _ files: [String],
        _ check: @escaping ArtifactStore.Check
    ) throws {
        let key = key(kind, id)
        guard try !store.exists(key + "manifest.json", check: check) else { return }
        for file in files + ["manifest.json"] {
            try store.put(file: "\(folder)/\(file)", key + file, check: check)
        }
    }

    /// Fetches the manifest into an existing folder; false when the artifact is not there.
    func downloadManifest(
        _ kind: String,
        _ id: String,
        into folder: String,
        _ check: @escaping ArtifactStore.Check
    ) throws -> Bool {
        guard try store.exists(key(kind, id) + "manifest.json", check: check) else { return false }
        try download(kind, id, "manifest.json", sha256: id, into: folder, check)
        return true
    }

    func download(
        _ kind: String,
        _ id: String,
        _ file: String,
        sha256: String,
        into folder: String,
        _ check: @escaping ArtifactStore.Check
    ) throws {
        let source = try Download(
            store.request(key: key(kind, id) + file),
            sha256: sha256,
            check: check
        )
        let path = "\(folder)/\(file)"
        guard let target = unsafe fopen(path, "wb") else {
            throw ArtifactError.system("write \(path)")
        }
        var isOpen = true
        defer { if isOpen { _ = unsafe fclose(target) } }
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = unsafe try buffer.withUnsafeMutableBytes {
                unsafe try source.read(into: $0)
            }
            if count == 0 { break }
            guard unsafe fwrite(buffer, 1, count, target) == count else {
                throw ArtifactError.system("write \(path)")
            }
        }
        isOpen = false
        guard unsafe fclose(target) == 0 else { throw ArtifactError.system("write \(path)") }
    }

    /// The ids that begin so.
    func ids(_ kind: String, prefix id: String) throws -> [String] {
        let folder = "\(prefix)\(kind)/\(id.prefix(2))/"
        return try store.list(prefix: folder + id).compactMap { object in
            let parts = object.key.dropFirst(folder.count).split(separator: "/")
            return parts.count == 2 && parts[1] == "manifest.json" ? String(parts[0]) : nil
        }
    }

    /// The manifest goes first: from then on it is not there.
    func remove(_ kind: String, _ id: String) throws {
        let key = key(kind, id)
        try store.remove(key + "manifest.json")
        for object in try store.list(prefix: key) { try store.remove(object.key) }
    }
}
