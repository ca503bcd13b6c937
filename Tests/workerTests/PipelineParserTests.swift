// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Testing

@testable import worker

struct PipelineParserTests {
    private static let whole = """
        feed: for-you
        dataset:
          source: { csv: events.csv.gz }
          columns: { user: user_id, item: item_id, time: timestamp, session: s }
          items: { tsv: /data/items.tsv, item: item_id, title: title }
          bad-rows: 2%
          split: { by: time, test: 7d }
        model:
          kind: prod2vec
          vector-size: 48
          sample: 0
          skip-gram: true
        predict: { for: users, k: 20, exclude: nothing, history: 3, shard: 500 }
        publish: { expire: 12h, keep: 3, format: json-scored }
        """

    private func parse(_ text: String) throws -> Pipeline {
        try PipelineParser.parse(text, name: "p.yaml", folder: "/home/me")
    }

    private func problems(_ text: String) -> [String] {
        do {
            _ = try parse(text)
            return []
        } catch {
            return "\(error)".split(separator: "\n").map(String.init)
        }
    }

    @Test func `a whole file is read`() throws {
        let pipeline = try parse(Self.whole)
        #expect(pipeline.feed == "for-you")
        #expect(pipeline.dataset.source == .init(path: "/home/me/events.csv.gz", format: "csv"))
        #expect(pipeline.dataset.items?.table == .init(path: "/data/items.tsv", format: "tsv"))
        #expect(pipeline.dataset.columns.session == "s")
        #expect(pipeline.dataset.badRows == 0.02)
        #expect(pipeline.dataset.split == .time(test: 7 * 86_400))
        guard case .prod2vec(let model) = pipeline.model else {
            Issue.record("not prod2vec")
            return
        }
        #expect(model.vectorSize == 48 && model.sample == 0 && model.skipGram)
        #expect(model.window == 5 && model.negative == 5 && model.epochs == 5)
        #expect(pipeline.predict.rules == ListRules(k: 20, excludesSeen: false, history: 3))
        #expect(pipeline.predict.shard == 500)
        #expect(pipeline.publish == .init(expireSeconds: 43_200, keep: 3, format: "json-scored"))
    }

    @Test func `a run reads back the pipeline it was started with`() throws {
        let pipeline = try parse(Self.whole)
        let json = try RunPlan.encode(pipeline)
        #expect(try JSONDecoder().decode(Pipeline.self, from: Data(json.utf8)) == pipeline)
    }

    @Test func `all problems are told at once, each with its line and the nearest spelling`() {
        let found = problems(
            """
            feed: For You
            datasett: {}
            dataset:
              source: { cvs: events.csv }
              columns: { user: user_id }
              bad-rows: lots
            model: { kind: prod2vek, epochs: many, windw: 3 }
            predict: { for: users, k: 0 }
            publish: { expire: 7 days }
            """
        )
        for expected in [
            "p.yaml:1: feed is \"For You\", but must be small letters",
            "p.yaml:2: the pipeline has no key \"datasett\"; did you mean \"dataset\"?",
            "p.yaml:4: dataset: source has no key \"cvs\"; did you mean \"csv\"?",
            "p.yaml:5: dataset: columns: item is missing",
            "p.yaml:6: dataset: bad-rows is \"lots\", but must be a share",
            "did you mean prod2vec?",
            "p.yaml:8: predict: k is \"0\", but must be a whole number from 1 to 10000",
            "p.yaml:9: publish: expire is \"7 days\", but must be a duration",
        ] {
            #expect(found.contains { $0.contains(expected) }, "\(expected) in \(found)")
        }
        #expect(!found.contains { !$0.hasPrefix("p.yaml:") })
    }

    @Test(arguments: [
        ("", "the file is empty"), ("feed: [", "not valid YAML"), ("- a\n- b", "must be a mapping"),
        ("feed: x", "dataset is missing"), ("dataset: 5\nfeed: x", "dataset must be a mapping"),
    ])
    func `what is no pipeline says so`(_ text: String, _ words: String) {
        #expect(problems(text).joined(separator: "\n").contains(words))
    }

    @Test func `a file that is not there is named`() {
        let error = #expect(throws: PipelineError.self) {
            _ = try PipelineParser.parse(file: "/nowhere/p.yaml")
        }
        #expect(error?.description == "/nowhere/p.yaml: there is no such file")
    }

    @Test func `a split by time needs a time column`() {
        let text = Self.whole.replacing(", time: timestamp", with: "")
        #expect(
            problems(text).contains { $0.contains("a split by time needs dataset: columns: time") }
        )
    }
}

struct RunPlanTests {
    @Test func `every job waits for jobs that stand before it`() {
        var seen: Set<String> = []
        for job in RunPlan.jobs() {
            #expect(job.after.allSatisfy(seen.contains))
            #expect(seen.insert(job.name).inserted)
        }
        #expect(seen.contains(RunPlan.publishName))
    }
}

struct OutputTests {
    @Test func `numbers are written for people`() {
        #expect(Output.count(0) == "0")
        #expect(Output.count(999) == "999")
        #expect(Output.count(1_234_567) == "1,234,567")
        #expect(Output.count(-1000) == "-1,000")
        #expect(Output.bytes(512) == "512 B")
        #expect(Output.bytes(1_572_864) == "1.5 MiB")
        #expect(Output.seconds(3.14) == "3.1 s")
        #expect(Output.seconds(3_725) == "1:02:05")
    }
}
