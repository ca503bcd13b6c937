// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import Artifacts
@testable import Transfer

/// Against a server that checks signatures.
@Suite(.timeLimit(Effort.limit)) struct S3Tests {
    static func environment(_ change: [String: String] = [:]) throws -> [String: String] {
        let environment = S3.currentEnvironment()
        _ = try #require(environment["AWS_ENDPOINT_URL"], "run through Tests/with-servers.sh")
        return environment.merging(change) { $1 }
    }

    /// A bucket of the test's own.
    static func bucket(partSize: Int = S3.partSize) throws -> S3 {
        let store = try S3(
            bucket: "b" + UUID().uuidString.lowercased(),
            environment: environment(),
            partSize: partSize
        )
        try store.put([], "")
        return store
    }

    private func read(_ store: S3, _ key: String) throws -> [UInt8] {
        try HTTP.perform(store.request(key: key)).body
    }

    @Test func `keys of all letters come back, in order`() throws {
        let store = try Self.bucket()
        let keys = ["a b+c&d=e.csv", "ä/ü?.csv", "part-1.csv", "part-2.csv", "x%20y"]
        for (place, key) in keys.enumerated() { try store.put(Array("\(place)".utf8), key) }
        #expect(try store.list(prefix: "").map(\.key).sorted() == keys.sorted())
        #expect(try store.list(prefix: "part-").map(\.key) == ["part-1.csv", "part-2.csv"])
        for (place, key) in keys.enumerated() {
            #expect(try read(store, key) == Array("\(place)".utf8))
        }
        try store.remove("x%20y")
        try store.remove("x%20y")
        #expect(try !store.exists("x%20y") && store.exists("part-1.csv"))
    }

    @Test func `long lists are read to their end`() throws {
        let store = try Self.bucket()
        for number in 0..<25 { try store.put([1], "n/\(100 + number)") }
        let keys = try store.list(prefix: "n/", pageSize: 10).map(\.key)
        #expect(keys == (0..<25).map { "n/\(100 + $0)" })
    }

    @Test func `a large file goes up in parts and comes down whole`() throws {
        // The smallest part that S3 takes is 5 MiB.
        let store = try Self.bucket(partSize: 5 << 20)
        let folder = try TemporaryFolder()
        let bytes = (0..<(12 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 9) }
        let path = try folder.write(bytes, to: "large")
        try store.put(file: path, "large")
        #expect(try read(store, "large") == bytes)
        #expect(try store.list(prefix: "large") == [.init(key: "large", size: bytes.count)])
        // Nothing begun is left.
        let uploads = try HTTP.perform(store.request(key: "", query: "uploads="))
        #expect(S3.field("UploadId", in: uploads.body) == nil && uploads.status == 200)
    }

    @Test func `an upload that cannot be finished leaves nothing`() throws {
        let store = try Self.bucket(partSize: 5 << 20)
        let folder = try TemporaryFolder()
        let path = try folder.write([UInt8](repeating: 7, count: 12 << 20), to: "large")
        struct Stop: Error {}
        let start = ContinuousClock.now
        #expect(throws: (any Error).self) {
            try store.put(file: path, "large") {
                // The file is cut while its parts go up.
                if unsafe truncate(path, 6 << 20) != 0 || ContinuousClock.now - start > .seconds(60)
                {
                    throw Stop()
                }
            }
        }
        #expect(try !store.exists("large"))
        let uploads = try HTTP.perform(store.request(key: "", query: "uploads="))
        #expect(S3.field("UploadId", in: uploads.body) == nil)
    }

    @Test func `wrong or missing credentials are told and never shown`() throws {
        let wrong = try S3(
            bucket: "b",
            environment: Self.environment(["AWS_SECRET_ACCESS_KEY": "hunter2hunter2"])
        )
        let refused = #expect(throws: TransferError.self) { try wrong.put([1], "k") }
        #expect(refused?.description.contains("403 (forbidden)") == true)
        #expect(refused?.description.contains("hunter2") == false)
        let missing = #expect(throws: TransferError.self) {
            try S3(bucket: "b", environment: ["AWS_ACCESS_KEY_ID": "AKIA"])
        }
        #expect(missing?.description.contains("AWS_SECRET_ACCESS_KEY") == true)
        #expect(missing?.description.contains("AKIA") == false)
    }
}

extension S3 {
    /// Puts what a test has made up; with an empty key it makes the bucket.
    func put(_ bytes: [UInt8], _ key: String) throws {
        let answer = try HTTP.perform(request("PUT", key: key, body: .bytes(bytes)))
        guard answer.status == 200 else { throw answer.error(key) }
    }
}

/// One contract for both places.
@Suite(.timeLimit(Effort.limit)) struct ArtifactContractTests {
    enum Place: CaseIterable {
        case folder
        case bucket
    }

    private struct About: Codable, Equatable, Sendable { var n: Int }

    /// Two stores of one content: what another machine would see.
    private func stores(_ place: Place) throws -> ([ArtifactStore], [TemporaryFolder]) {
        switch place {
        case .folder:
            let folder = try TemporaryFolder()
            return ([ArtifactStore(folder.path), ArtifactStore(folder.path)], [folder])
        case .bucket:
            let url = "s3://\(try S3Tests.bucket().bucket)/deep/prefix"
            let folders = try [TemporaryFolder(), TemporaryFolder()]
            let bucket = try S3Artifacts(url, environment: S3Tests.environment())
            return (folders.map { ArtifactStore($0.path, bucket: bucket) }, folders)
        }
    }

    private func add(_ store: ArtifactStore, _ text: String) throws -> Artifact {
        try store.add(kind: "model", about: About(n: 1)) { path in
            try Data(text.utf8).write(to: URL(filePath: path + "/a.bin"))
            try Data((text + text).utf8).write(to: URL(filePath: path + "/b.bin"))
        }
    }

    @Test(arguments: Place.allCases)
    func `what one adds another gets, under the same name`(_ place: Place) throws {
        let (stores, folders) = try stores(place)
        let artifact = try add(stores[0], "x")
        let seen = try stores[1].get(kind: "model", artifact.id)
        #expect(try seen.manifest(About.self) == About(n: 1))
        #expect(try String(contentsOfFile: seen.folder + "/b.bin", encoding: .utf8) == "xx")
        #expect(try add(stores[1], "x").id == artifact.id)
        #expect(
            try stores[1].find(kind: "model", prefix: String(artifact.id.prefix(6))).id
                == artifact.id
        )
        #expect(throws: (any Error).self) { try stores[1].get(kind: "dataset", artifact.id) }
        try stores[0].remove(kind: "model", artifact.id)
        try stores[0].remove(kind: "model", artifact.id)
        #expect(throws: (any Error).self) { try stores[0].get(kind: "model", artifact.id) }
        _ = folders
    }

    @Test(arguments: Place.allCases)
    func `what was begun and not finished is not there`(_ place: Place) throws {
        struct Full: Error {}
        let (stores, folders) = try stores(place)
        #expect(throws: Full.self) {
            try stores[0].add(kind: "model", about: About(n: 1)) { path in
                try Data("half".utf8).write(to: URL(filePath: path + "/a.bin"))
                throw Full()
            }
        }
        let none = #expect(throws: ArtifactError.self) {
            try stores[1].find(kind: "model", prefix: "00")
        }
        #expect(none?.description.contains("no model 00 is in") == true)
        _ = folders
    }

    @Test func `a damaged object is not taken for the artifact, nor one without a manifest`() throws
    {
        let store = try S3Tests.bucket()
        let folders = try [TemporaryFolder(), TemporaryFolder()]
        let bucket = try S3Artifacts("s3://\(store.bucket)", environment: S3Tests.environment())
        let artifact = try add(ArtifactStore(folders[0].path, bucket: bucket), "x")
        let key = "model/\(artifact.id.prefix(2))/\(artifact.id)/"
        #expect(try store.list(prefix: key).count == 3)
        try store.put(Array("y".utf8), key + "a.bin")
        let other = ArtifactStore(folders[1].path, bucket: bucket)
        let error = #expect(throws: TransferError.self) {
            try other.get(kind: "model", artifact.id)
        }
        #expect(error?.description.contains("SHA-256") == true)
        #expect(try folders[1].contents() == ["tmp"])
        try store.remove(key + "manifest.json")
        #expect(throws: ArtifactError.self) { try other.get(kind: "model", artifact.id) }
    }
}

struct S3SignatureTests {
    /// The example "GET Object" of Amazon's documentation signs the Range header too; this is its
    /// example "GET Bucket Lifecycle", which signs what we do.
    @Test func `a signature is the one in Amazon's documentation`() throws {
        let credentials = try S3(
            bucket: "examplebucket",
            environment: [
                "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
                "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            ]
        ).request(key: "").signer
        let headers = S3Signature.headers(
            "GET",
            "https://examplebucket.s3.amazonaws.com/?lifecycle=",
            payload: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            try #require(credentials),
            at: 1_369_353_600  // 2013-05-24
        )
        #expect(
            headers["Authorization"]?.hasSuffix(
                "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"
            ) == true
        )
    }
}
