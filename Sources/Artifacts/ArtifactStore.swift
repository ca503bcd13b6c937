// SPDX-License-Identifier: Apache-2.0
private import Crypto
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

/// Keeps artifacts in a folder.
///
/// Writing is all or nothing: files are made in a temporary folder, synced, and renamed into place.
package struct ArtifactStore: Sendable {
    private let root: String

    package init(_ root: String) { self.root = root }

    /// Makes an artifact: `body` writes its files into the folder it is given.
    ///
    /// The same content gives the same id; if it is there already, it is kept.
    package func add(
        kind: String,
        about: some Codable & Sendable,
        _ body: (String) throws -> Void
    ) throws -> Artifact {
        let temporary = "\(root)/tmp/\(UUID().uuidString.lowercased())"
        try makeFolder(temporary)
        var isKept = false
        defer { if !isKept { try? FileManager.default.removeItem(atPath: temporary) } }
        try body(temporary)
        let manifest = try write(manifestOf: temporary, kind: kind, about: about)
        let id = SHA256.hash(data: manifest).hex
        let artifact = artifact(kind, id)
        try makeFolder(String(artifact.folder.dropLast(id.count + 1)))
        if unsafe rename(temporary, artifact.folder) == 0 {
            isKept = true
        } else if errno != EEXIST && errno != ENOTEMPTY {
            throw failure("move the artifact to \(artifact.folder)")
        }
        return artifact
    }

    /// Throws unless it is there.
    package func get(kind: String, _ id: String) throws(ArtifactError) -> Artifact {
        let artifact = artifact(kind, id)
        guard unsafe access(artifact.folder + "/manifest.json", R_OK) == 0 else {
            throw ArtifactError(
                description: """
                    \(kind) \(id.prefix(12)) is not in the artifact store \(root)
                    hint: workers must share one store; see LARDER_ARTIFACTS
                    """
            )
        }
        return artifact
    }

    private func artifact(_ kind: String, _ id: String) -> Artifact {
        Artifact(id: id, folder: "\(root)/\(kind)/\(id.prefix(2))/\(id)")
    }

    private func write(
        manifestOf folder: String,
        kind: String,
        about: some Codable & Sendable
    ) throws -> Data {
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted().map {
            name -> ManifestFile in
            let (hash, bytes) = try digest(folder + "/" + name)
            return ManifestFile(name: name, bytes: bytes, sha256: hash)
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        let data = try encoder.encode(Manifest(kind: kind, files: files, about: about))
        do {
            try data.write(to: URL(filePath: folder + "/manifest.json"))
        } catch {
            throw failure("write \(folder)/manifest.json")
        }
        return data
    }

    private func digest(_ path: String) throws(ArtifactError) -> (hash: String, bytes: Int) {
        guard let file = unsafe fopen(path, "rb") else { throw failure("read \(path)") }
        defer { _ = unsafe fclose(file) }
        var hash = SHA256()
        var total = 0
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = unsafe fread(&buffer, 1, buffer.count, file)
            if count == 0 { break }
            hash.update(data: buffer[..<count])
            total += count
        }
        return (hash.finalize().hex, total)
    }

    private func makeFolder(_ path: String) throws(ArtifactError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path,
                withIntermediateDirectories: true
            )
        } catch {
            throw failure("make the folder \(path)")
        }
    }

    private func failure(_ action: String) -> ArtifactError {
        ArtifactError(
            description: "cannot \(action): \(unsafe String(cString: strerror(errno)))"
        )
    }
}

extension Digest {
    fileprivate var hex: String {
        map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
