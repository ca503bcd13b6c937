// SPDX-License-Identifier: Apache-2.0
import Foundation
import Postgres
import TestSupport
import Testing
import Transfer

/// From made data to datasets, as a user types it.
@Suite(.serialized, .timeLimit(Effort.limit)) struct DataCommandTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func with(_ body: (Larder) async throws -> Void) async throws {
        try await TestServers.withDatabase { database in
            try await body(Larder(database, home: folder.path + "/home"))
        }
    }

    /// A shop with a feed of its own: all tests share one Redis.
    private func makeShop(_ larder: Larder, rows: Int) async throws -> String {
        let shop = folder.path + "/shop"
        let made = try await larder.run(
            "data",
            "make",
            "shop",
            shop,
            "--rows",
            "\(rows)",
            "--users",
            "80",
            "--items",
            "60"
        )
        #expect(made.status == 0 && made.output.contains("events in \(shop)"), "\(made)")
        let path = shop + "/pipeline.yaml"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try text.replacing("feed: shop", with: "feed: \(TestServers.uniqueFeed())")
            .write(toFile: path, atomically: true, encoding: .utf8)
        return shop
    }

    private func dataset(_ output: String) -> String {
        String(output.firstMatch(of: /dataset ([0-9a-f]{12})/)?.1 ?? "none")
    }

    @Test func `a dataset is made once of the same data, and then goes on`() async throws {
        try await with { larder in
            let shop = folder.path + "/shop"
            let made = try await larder.run(
                "data",
                "make",
                "shop",
                shop,
                "--rows",
                "4000",
                "--users",
                "80",
                "--items",
                "60"
            )
            #expect(made.status == 0 && made.output.contains("4,000 events in"), "\(made)")
            let worker = try await larder.start("worker")
            defer { worker.kill() }
            let first = try await larder.run("run", shop + "/pipeline.yaml", "--follow")
            #expect(first.status == 0, "\(first)")

            let again = try await larder.run("run", shop + "/pipeline.yaml", "--follow")
            #expect(again.output.contains("made of the same as run 1, whose dataset it is"))
            #expect(dataset(again.output) == dataset(first.output))

            let path = shop + "/events.csv"
            let text = try String(contentsOfFile: path, encoding: .utf8)
            try (text + "newcomer,s1,60001,view,1775000000,1.50,phone\n")
                .write(toFile: path, atomically: true, encoding: .utf8)
            let third = try await larder.run("run", shop + "/pipeline.yaml", "--follow")
            #expect(third.output.contains("the vocabulary goes on: 1 new users, 1 new items"))
            #expect(dataset(third.output) != dataset(first.output))

            try FileManager.default.removeItem(atPath: folder.path + "/home/artifacts/dataset")
            let anew = try await larder.run("run", shop + "/pipeline.yaml", "--follow")
            #expect(anew.output.contains("the vocabulary begins anew: dataset"), "\(anew)")

            let shown = try await larder.run("data", "show", dataset(anew.output))
            for words in ["4,001 rows read", "events of a user: mean", "events of an item", "█"] {
                #expect(shown.output.contains(words), "\(shown)")
            }
            #expect(shown.output.contains(/brand +items +category +\d+ +\d+ +b\d/))
            #expect(shown.output.contains(/tags +items +category list/))
            let json = try await larder.run("data", "show", dataset(anew.output), "--json")
            let answer = try #require(
                JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
            )
            #expect((answer["profile"] as? [String: Any])?["events"] as? Int == 4001)
        }
    }

    @Test func `what cannot be shown or made is said`() async throws {
        try await with { larder in
            let unknown = try await larder.run("data", "show", "abcdef")
            #expect(unknown.status == 1 && unknown.errors.contains("no dataset abcdef is in"))
            let strange = try await larder.run("data", "show", "for-you")
            #expect(strange.errors.contains("is not the beginning of an id"))
            let full = try await larder.run(
                "data",
                "make",
                "t4rec",
                folder.path + "/t",
                "--rows",
                "10"
            )
            let again = try await larder.run(
                "data",
                "make",
                "t4rec",
                folder.path + "/t",
                "--rows",
                "10"
            )
            #expect(full.status == 0 && again.status != 0)
            #expect(again.errors.contains("is not empty"))
        }
    }

    @Test func `workers with folders of their own share a bucket`() async throws {
        let root = folder.path
        let store = "s3://\(try S3Tests.bucket().bucket)/larder"
        try await TestServers.withDatabase { database in
            func larder(_ name: String) throws -> Larder {
                try Larder(database, home: "\(root)/\(name)")
            }
            let shop = try await makeShop(larder("a"), rows: 3000)
            // One that is alone at its work, and one that comes for the next run.
            var first = ""
            for home in ["a", "b"] {
                let worker = try await larder(home).start("worker", "--artifacts", store)
                defer { worker.kill() }
                let run = try await larder("c").run(
                    "run",
                    shop + "/pipeline.yaml",
                    "--follow",
                    "--artifacts",
                    store
                )
                #expect(run.status == 0, "\(run)")
                if home == "a" { first = dataset(run.output) }
                #expect(dataset(run.output) == first)
            }
            let shown = try await larder("d").run("data", "show", first, "--artifacts", store)
            #expect(shown.output.contains("3,000 rows read"), "\(shown)")
        }
    }

    @Test func `a plan is near what comes out, and exact when it has seen all`() async throws {
        try await with { larder in
            let shop = folder.path + "/shop"
            _ = try await larder.run("data", "make", "shop", shop, "--rows", "200000")
            func plan(_ rows: String) async throws -> [String: Any] {
                let plan = try await larder.run(
                    "plan",
                    shop + "/pipeline.yaml",
                    "--rows",
                    rows,
                    "--json"
                )
                #expect(plan.status == 0, "\(plan)")
                let answer = try JSONSerialization.jsonObject(with: Data(plan.output.utf8))
                return try #require((answer as? [String: Any])?["estimate"] as? [String: Any])
            }
            func number(_ plan: [String: Any], _ key: String) -> Double {
                Double(plan[key] as? Int ?? -1)
            }
            let exact = try await plan("300000")
            #expect(exact["isExact"] as? Bool == true && number(exact, "rows") == 200_000)
            // A few mebibytes are the least that is read: a third of the file.
            let near = try await plan("10000")
            #expect(near["isExact"] as? Bool == false)
            for key in ["rows", "events", "users", "items", "sequences", "dataset"] {
                let ratio = number(near, key) / number(exact, key)
                #expect((0.6...1.6).contains(ratio), "\(key): \(ratio)")
            }
            let pipeline = try String(contentsOfFile: shop + "/pipeline.yaml", encoding: .utf8)
            let compact = try folder.write(
                pipeline + "\npublish: { compact: true }\n",
                to: "shop/compact.yaml"
            )
            func redis(_ file: String) async throws -> Int {
                let plan = try await larder.run("plan", file, "--rows", "300000", "--json")
                let answer = try JSONSerialization.jsonObject(with: Data(plan.output.utf8))
                return try #require((answer as? [String: Any])?["redis"] as? Int, "\(plan)")
            }
            let (plain, shared) = (
                try await redis(shop + "/pipeline.yaml"), try await redis(compact)
            )
            #expect(shared < plain && shared > plain / 4, "\(shared) \(plain)")
            let text = try await larder.run("plan", shop + "/pipeline.yaml", "--rows", "10000")
            #expect(text.output.contains(/rows +about (1[5-9]|2[0-4])0,000/), "\(text)")
            #expect(text.output.contains(/memory of prepare +at most \d/))
            #expect(text.output.contains(/Redis +about .* for each of 2 releases/))
        }
    }
}
