// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import Artifacts

struct ArtifactStoreTests {
    private let folder: TemporaryFolder
    private let store: ArtifactStore

    init() throws {
        folder = try TemporaryFolder()
        store = ArtifactStore(folder.path)
    }

    private func add(_ text: String, about: [String: Int] = ["n": 1]) throws -> Artifact {
        try store.add(kind: "model", about: about) { path in
            try Data(text.utf8).write(to: URL(filePath: path + "/file"))
        }
    }

    @Test func `the same content has one name, other content another`() throws {
        let first = try add("a")
        let again = try add("a")
        let other = try add("b")
        let described = try add("a", about: ["n": 2])
        #expect(first.id == again.id && first.id.count == 64)
        #expect(Set([first.id, other.id, described.id]).count == 3)
        #expect(try first.manifest([String: Int].self) == ["n": 1])
        #expect(try String(contentsOfFile: first.folder + "/file", encoding: .utf8) == "a")
    }

    @Test func `an artifact that could not be finished leaves nothing`() throws {
        struct Full: Error {}
        #expect(throws: Full.self) {
            _ = try store.add(kind: "model", about: ["n": 1]) { path in
                try Data("half".utf8).write(to: URL(filePath: path + "/file"))
                throw Full()
            }
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/tmp").isEmpty)
        #expect(try folder.contents() == ["tmp"])
    }

    @Test func `a missing artifact is named and the cure told`() throws {
        let error = #expect(throws: ArtifactError.self) {
            _ = try store.get(kind: "model", String(repeating: "a", count: 64))
        }
        #expect(
            error?.description.contains("model aaaaaaaaaaaa is not in the artifact store") == true
        )
        #expect(error?.description.contains("LARDER_ARTIFACTS") == true)
        let kept = try add("x")
        #expect(try store.get(kind: "model", kept.id).folder == kept.folder)
    }
}
