// SPDX-License-Identifier: Apache-2.0
import Foundation
import Predictor
import Tables
import Testing

@testable import worker

@Suite struct AnnouncementParserTests {
    private static let whole = """
        feed: f
        dataset:
          source: { csv: e.csv }
          columns: { user: u, item: i }
          split: { by: leave-last-one }
        model: { kind: popularity }
        predict: { for: users }

        """

    @Test func `whom to tell is read, with what nobody said`() throws {
        let pipeline = try PipelineText.parse(
            Self.whole + """
                track: { mlflow: "http://tracker:5000/" }
                notify:
                  - { url: "https://hooks.example/a?b=c" }
                  - { url: "https://hooks.example/d", events: [refused], secret: HOOK_SECRET }
                """
        )
        #expect(
            pipeline.track
                == Pipeline.Track(mlflow: "http://tracker:5000/", experiment: pipeline.feed)
        )
        #expect(pipeline.notify?.map(\.events) == [RunEvent.allCases, [.refused]])
        #expect(pipeline.notify?.map(\.secret) == [nil, "HOOK_SECRET"])
    }

    @Test(arguments: [
        ("track: { mlflow: 'tracker:5000' }", "track: mlflow must be an address"),
        ("track: { mlflow: 'http://me:pw@tracker' }", "track: mlflow has a name or password in it"),
        ("track: { experiment: x }", "track: mlflow is missing"),
        (
            "notify: { url: 'http://a' }",
            "notify is a list or mapping, but must be a list of web-hooks"
        ),
        ("notify: []", "must be a list of web-hooks"),
        ("notify: [{ events: [failed] }]", "notify: url is missing"),
        ("notify: [{ url: 'http://a', events: [broken] }]", "but there are only finished, failed"),
        (
            "notify: [{ url: 'http://a', secret: 'whsec_c2VjcmV0' , on: x }]",
            "notify has no key \"on\""
        ),
        ("notify: [{ url: 'http://t0ken@a' }]", "notify: url has a name or password in it"),
        ("notify: [{ url: 'http://a', events: [] }]", "must be a list of at least one"),
        ("notify: [{ url: 'http://a', secret: 's3cr+t' }]", "must name the environment variable"),
    ])
    func `what will not do is told`(_ text: String, _ words: String) {
        let error = #expect(throws: PipelineError.self) {
            try PipelineText.parse(Self.whole + text)
        }
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(error?.description.contains("s3cr+t") == false)
    }

    @Test func `what is shown to others has no secrets of addresses`() throws {
        let text = Self.whole.replacing("e.csv", with: "'https://files.example/e.csv?sig=s3cr'")
            .replacing(
                "model:",
                with: """
                      items:
                        duckdb: SELECT * FROM read_parquet('https://lake.example/i?sig=s3cr') WHERE a > '?'
                        item: i
                    model:
                    """
            )
        let pipeline = try PipelineText.parse(
            text + "notify: [{ url: 'https://hooks.example/s3cr' }]"
        )
        let shown = String(decoding: try JSONEncoder().encode(pipeline.shareable), as: UTF8.self)
        #expect(!shown.contains("s3cr"), "\(shown)")
        #expect(shown.contains("files.example") && shown.contains("hooks.example"))
        let query = pipeline.shareable.dataset.items?.table.text ?? ""
        #expect(query.hasSuffix("lake.example/i?…') WHERE a > '?'"), "\(query)")
        #expect(pipeline.shareable.model == pipeline.model)
    }

    @Test(arguments: [
        ("train 3/9 round 2/loss", 3, "loss"), ("train 12/12/ndcg@10", 12, "ndcg_at_10"),
        ("train/loss", nil, "train/loss"), ("refit/loss", nil, "refit/loss"),
        ("test/hit-rate@10[city=Москва/Süd]", nil, "test/hit-rate_at_10/city_Москва/Süd"),
        ("a: b€", nil, "a: b_"),
        ("\(String(repeating: "x", count: 249))/y", nil, String(repeating: "x", count: 249)),
        ("test/x[a=..]", nil, "test/x/a_.."), ("a//b/../c", nil, "a/b/_/c"),
    ])
    func `curves find their arm, and a name that MLflow takes`(
        _ name: String,
        _ arm: Int?,
        _ spelt: String
    ) {
        let found = TrackedRun.armAndMetric(of: name)
        #expect(found.arm == arm)
        #expect(TrackedRun.name(found.metric) == spelt)
    }
}
