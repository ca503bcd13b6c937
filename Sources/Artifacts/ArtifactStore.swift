// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc

/// What the store cannot do, in words for a person.
package struct ArtifactError: Error, CustomStringConvertible {
    package let description: String
}

/// An immutable folder of files, named by the SHA-256 of its manifest, which names every file by
/// its own SHA-256.
package struct Artifact: Sendable {
    /// 64 hexadecimal digits.
    package let id: String
    package let folder: String

    package func manifest<T: Codable & Sendable>(_ type: T.Type) throws(ArtifactError) -> T {
        do {
            let data = try Data(contentsOf: URL(filePath: folder + "/manifest.json"))
            return try JSONDecoder().decode(Manifest<T>.self, from: data).about
        } catch {
            throw ArtifactError(description: "\(folder)/manifest.json cannot be read: \(error)")
        }
    }

    fileprivate func files() throws -> [ManifestFile] {
        struct Files: Decodable { let files: [ManifestFile] }
        let data = try Data(contentsOf: URL(filePath: folder + "/manifest.json"))
        return try JSONDecoder().decode(Files.self, from: data).files
    }
}

private struct Manifest<About: Codable>: Codable {
    let kind: String
    let files: [ManifestFile]
    let about: About
}

private struct ManifestFile: Codable {
    let name: String
    let bytes: Int
    let sha256: String
}

/// Keeps artifacts in a folder, or in a bucket of S3 with a folder that remembers what was used.
///
/// Writing is all or nothing: files are made in a temporary folder, synced, and renamed into place;
/// in a bucket the manifest comes last.
package struct ArtifactStore: Sendable {
    private let root: String
    private let bucket: S3Artifacts?

    private var check: Check = {}

    package typealias Check = @Sendable () throws -> Void

    package init(_ root: String, bucket: S3Artifacts? = nil) {
        self.root = root
        self.bucket = bucket
    }

    /// The same store, whose transfers ask now and then, by what `check` throws, whether to stop.
    package func checking(_ check: @escaping Check) -> ArtifactStore {
        var store = self
        store.check = check
        return store
    }

    /// What messages call it.
    private var name: String { bucket?.name ?? root }

    /// Makes an artifact: `body` writes its files into the folder it is given.
    ///
    /// The same content gives the same id; if it is there already, it is kept.
    package func add(
        kind: String,
        about: some Codable & Sendable,
        _ body: (String) throws -> Void
    ) throws -> Artifact {
        try add(kind: kind) { folder in (about, try body(folder)) }.0
    }

    /// The same where what the manifest says is known only when the files are written; returns what
    /// `body` makes beside it.
    package func add<About: Codable & Sendable, Value>(
        kind: String,
        _ body: (String) throws -> (about: About, Value)
    ) throws -> (Artifact, Value) {
        let temporary = "\(root)/tmp/\(UUID().uuidString.lowercased())"
        try makeFolder(temporary)
        // Where it was moved away, nothing is left to remove.
        defer { try? FileManager.default.removeItem(atPath: temporary) }
        let (about, value) = try body(temporary)
        let (manifest, files) = try write(manifestOf: temporary, kind: kind, about: about)
        var hash = ContentHash()
        hash.add(manifest)
        let id = hash.hex
        let artifact = artifact(kind, id)
        try move(temporary, to: artifact)
        try bucket?.upload(kind, id, from: artifact.folder, files, check)
        return (artifact, value)
    }

    /// Throws unless it is there; fetches it from a bucket the first time.
    package func get(kind: String, _ id: String) throws -> Artifact {
        if let artifact = try lookUp(kind: kind, id) { return artifact }
        throw ArtifactError(
            description: """
                \(kind) \(id.prefix(12)) is not in the artifact store \(name)
                hint: workers must share one store; see LARDER_ARTIFACTS
                """
        )
    }

    /// Nil when it is certainly not there; throws when nobody can say now.
    package func lookUp(kind: String, _ id: String) throws -> Artifact? {
        if let artifact = local(kind: kind, id) { return artifact }
        let artifact = artifact(kind, id)
        guard let bucket, try fetch(artifact, kind, from: bucket) else { return nil }
        return artifact
    }

    /// Nil when it is not on this machine, whether or not it is in a bucket.
    package func local(kind: String, _ id: String) -> Artifact? {
        let artifact = artifact(kind, id)
        return unsafe access(artifact.folder + "/manifest.json", R_OK) == 0 ? artifact : nil
    }

    /// False when it is not in the bucket.
    private func fetch(
        _ artifact: Artifact,
        _ kind: String,
        from bucket: S3Artifacts
    ) throws -> Bool {
        let temporary = "\(root)/tmp/\(UUID().uuidString.lowercased())"
        try makeFolder(temporary)
        defer { try? FileManager.default.removeItem(atPath: temporary) }
        guard try bucket.downloadManifest(kind, artifact.id, into: temporary, check) else {
            return false
        }
        for file in try Artifact(id: artifact.id, folder: temporary).files() {
            try bucket.download(
                kind,
                artifact.id,
                file.name,
                sha256: file.sha256,
                into: temporary,
                check
            )
        }
        try move(temporary, to: artifact)
        return true
    }

    /// Another may have been faster, which is no error: it has the same content.
    private func move(_ temporary: String, to artifact: Artifact) throws {
        let parent = String(artifact.folder.dropLast(artifact.id.count + 1))
        try makeFolder(parent)
        // A crash of the machine must not leave half of it under its name.
        for file in try FileManager.default.contentsOfDirectory(atPath: temporary) {
            try sync("\(temporary)/\(file)")
        }
        try sync(temporary)
        defer { try? sync(parent) }
        if unsafe rename(temporary, artifact.folder) != 0 && errno != EEXIST && errno != ENOTEMPTY {
            throw ArtifactError.system("move the artifact to \(artifact.folder)")
        }
    }

    private func sync(_ path: String) throws(ArtifactError) {
        let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ArtifactError.system("open \(path)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw ArtifactError.system("sync \(path)") }
    }

    /// The one whose id begins so.
    package func find(kind: String, prefix: String) throws -> Artifact {
        guard prefix.count >= 2, prefix.allSatisfy({ $0.isHexDigit && !$0.isUppercase }) else {
            throw ArtifactError(
                description:
                    "\"\(prefix)\" is not the beginning of an id: hexadecimal digits, at least two"
            )
        }
        let folder = "\(root)/\(kind)/\(prefix.prefix(2))"
        let local = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
            .filter { $0.hasPrefix(prefix) }
        let found = try Set(local).union(bucket?.ids(kind, prefix: prefix) ?? []).sorted()
        if found.count == 1 { return try get(kind: kind, found[0]) }
        let reason =
            found.isEmpty
            ? "no \(kind) \(prefix) is in the artifact store \(name)"
            : "\(prefix) is the beginning of \(found.count) ids: "
                + found.prefix(5).map { String($0.prefix(12)) }.joined(separator: ", ")
        throw ArtifactError(description: reason)
    }

    /// Removes an artifact that nothing refers to any more; it is no error if it is gone.
    package func remove(kind: String, _ id: String) throws {
        try bucket?.remove(kind, id)
        try? FileManager.default.removeItem(atPath: artifact(kind, id).folder)
    }

    private func artifact(_ kind: String, _ id: String) -> Artifact {
        Artifact(id: id, folder: "\(root)/\(kind)/\(id.prefix(2))/\(id)")
    }

    private func write(
        manifestOf folder: String,
        kind: String,
        about: some Codable & Sendable
    ) throws -> (text: String, files: [String]) {
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map {
            name -> ManifestFile in
            var hash = ContentHash()
            let bytes = try hash.add(file: folder + "/" + name)
            return ManifestFile(name: name, bytes: bytes, sha256: hash.hex)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let data = try encoder.encode(Manifest(kind: kind, files: files, about: about))
        do {
            try data.write(to: URL(filePath: folder + "/manifest.json"))
        } catch {
            throw ArtifactError.system("write \(folder)/manifest.json")
        }
        return (String(decoding: data, as: UTF8.self), files.map(\.name))
    }

    private func makeFolder(_ path: String) throws(ArtifactError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true
            )
        } catch {
            throw ArtifactError.system("make the folder \(path)")
        }
    }
}
