// SPDX-License-Identifier: Apache-2.0
import Foundation
import Jobs
import Predictor
import Tables
import TestSupport
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
        publish: { expire: 12h, keep: 3, format: json-scored, rate: 5000 }
        """

    @Test func `a whole file is read`() throws {
        let pipeline = try PipelineText.parse(Self.whole)
        #expect(pipeline.feed == "for-you")
        #expect(pipeline.dataset.source == TableSource(.csv, "/home/me/events.csv.gz"))
        #expect(pipeline.dataset.items?.table == TableSource(.tsv, "/data/items.tsv"))
        #expect(pipeline.dataset.sessions.by == .column("s"))
        #expect(pipeline.dataset.badRows == 0.02)
        #expect(pipeline.dataset.split == .time(validation: 0, test: 7 * 86_400))
        guard case .prod2vec(let model) = pipeline.model else {
            Issue.record("not prod2vec")
            return
        }
        #expect(model.vectorSize == 48 && model.sample == 0 && model.skipGram)
        #expect(model.window == 5 && model.negative == 5 && model.epochs == 5)
        #expect(pipeline.predict.rules == ListRules(k: 20, excludesSeen: false, history: 3))
        #expect(pipeline.predict.shard == 500)
        #expect(
            pipeline.publish
                == .init(expireSeconds: 43_200, keep: 3, format: "json-scored", rate: 5000)
        )
    }

    private func dataset(_ lines: String, columns: String = "user: u, item: i, time: t") throws
        -> DatasetSettings
    {
        try PipelineText.parse(
            """
            feed: f
            dataset:
              source: { csv: e.csv }
              columns: { \(columns) }
            \(lines.split(separator: "\n").map { "  " + $0 }.joined(separator: "\n"))
            model: { kind: popularity }
            predict: { for: users }
            """
        ).dataset
    }

    @Test func `what is kept of the events is read`() throws {
        let settings = try dataset(
            """
            sessions: { gap: 30m }
            keep: { positive: "rating >= 3.5", from: 2020-09-08, last: 90d, sample: 10%, seed: 7,
                    duplicates: last, min-user-events: 5, min-item-events: 3 }
            weights: { column: event, values: { view: 1, buy: 5 }, half-life: 30d }
            split: { by: leave-last-one, validation: true }
            """
        )
        #expect(settings.sessions.by == .gap(1800))
        #expect(
            settings.keep
                == Keep(
                    positive: Condition("rating >= 3.5"),
                    from: 1_599_523_200,
                    last: 90 * 86_400,
                    sample: 0.1,
                    seed: 7,
                    duplicates: .last,
                    minUserEvents: 5,
                    minItemEvents: 3
                )
        )
        #expect(
            settings.weights
                == Weights(column: "event", values: ["view": 1, "buy": 5], halfLife: 30 * 86_400)
        )
        #expect(settings.split == .leaveLastOne(validation: true))
        #expect(
            try dataset("split: { by: column, column: fold, test: holdout }").split
                == .column("fold", validation: "validation", test: "holdout")
        )
        #expect(
            try dataset("split: { by: users, test: 20% }").split
                == .users(validation: 0, test: 0.2, seed: 42)
        )
    }

    @Test(arguments: [
        (
            "keep: { positive: rating }",
            "dataset: keep: positive is \"rating\", but must be a comparison"
        ),
        ("keep: { positive: a > b }", "must be a comparison"),
        ("keep: { from: yesterday }", "must be a date such as"),
        ("keep: { from: 2020-01-02, to: 2020-01-01 }", "no time is from"),
        ("keep: { sample: 0 }", "the sample keeps nothing"),
        ("keep: { duplicates: drop }", "must be one of all, first, last"),
        ("keep: { min-user-event: 3 }", "did you mean \"min-user-events\"?"),
        ("weights: { column: event, values: {} }", "what it is worth"),
        ("weights: { column: event, values: { view: much } }", "must be a number from 0"),
        ("sessions: { gap: long }", "must be a duration"),
        ("sessions: { last: 0 }", "must be a whole number from 1"),
        ("features: { items: { a: { category: a } } }", "needs dataset: items: the table"),
        ("features: { events: { a: {} } }", "needs one of category, number, bucket, time, target"),
        ("features: { events: { a: { category: a, number: b } } }", "needs one of category"),
        (
            "features: { users: { a: { time: hour } } }",
            "needs one of category, number, bucket, stat"
        ),
        ("features: { events: { a b: { number: a } } }", "cannot be the name of a feature"),
        ("features: { events: { item: { number: a } } }", "cannot be the name of a feature"),
        ("features: { event: {} }", "did you mean \"events\"?"),
        ("features: { events: { a: { number: a, scale: standart } } }", "did you mean standard?"),
        ("features: { events: { a: { number: a, fill: often } } }", "must be a number from"),
        ("features: { events: { a: { bucket: a, at: [3, 1] } } }", "at must be ascending"),
        ("features: { events: { a: { bucket: a, at: 3 } } }", "a list of numbers such as"),
        ("features: { events: { a: { category: a, last: 3 } } }", "say what separates it"),
        ("features: { events: { a: { time: hour, zone: Europe/Rom } } }", "is not a time zone"),
        ("features: { users: { a: { statistic: mean } } }", "a: of is missing"),
        ("features: { events: { a: { target: p, by: brand } } }", "\"brand\" is none"),
        (
            "features: { events: { h: { time: hour, zone: UTC }, h_sin: { number: x } } }",
            "the columns of dataset: features: events: h_sin are called as those of h are"
        ),
        (
            "features: { events: { a: { number: x } }, users: { a: { statistic: count } } }",
            "there are two features named a"
        ),
        (
            "features: { events: { a: { category: a }, b: { category: b, vocabulary: a, hash: 3 } } }",
            "min-count and hash must be those of"
        ),
    ])
    func `what cannot be kept is said`(_ lines: String, _ words: String) {
        let error = #expect(throws: PipelineError.self) { _ = try dataset(lines) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test(arguments: [
        "sessions: { gap: 30m }", "keep: { last: 3d }", "keep: { from: 2020-01-01 }",
        "features: { events: { a: { time: weekday } } }",
        "weights: { column: e, values: { a: 1 }, half-life: 3d }", "split: { by: time, test: 1d }",
    ])
    func `what needs a time column says so`(_ lines: String) {
        let error = #expect(throws: PipelineError.self) {
            _ = try dataset(lines, columns: "user: u, item: i")
        }
        #expect(error?.description.contains("needs dataset: columns: time") == true)
    }

    @Test func `features are read`() throws {
        let settings = try dataset(
            """
            sessions: { gap: 30m, last: 20, min-events: 2 }
            users: { csv: users.csv, user: id }
            items: { csv: items.csv, item: id }
            features:
              users:
                city: { category: town, min-count: 5, hash: 10, vocabulary: places }
                spend: { statistic: mean, of: price, log: true, scale: standard }
                visits: { statistic: count }
              items:
                genres: { category: genres, list: "|", last: 5 }
                band: { bucket: price, at: [10, 20.5] }
              events:
                price: { number: price, fill: median, scale: min-max }
                price-or-0: { number: price, fill: 0 }
                hour: { time: hour, zone: Europe/Rome }
                age: { time: item-age, log: true }
                worth: { target: price, by: city, folds: 3, smoothing: 5, seed: 1 }
            """
        )
        #expect(settings.sessions == .init(by: .gap(1800), minEvents: 2, last: 20))
        #expect(settings.users == EntityTable(table: .init(.csv, "/home/me/users.csv"), id: "id"))
        #expect(
            settings.features == [
                Feature(
                    "city",
                    of: .users,
                    .category(
                        .init(column: "town", minCount: 5, hashBuckets: 10, vocabulary: "places")
                    )
                ),
                Feature(
                    "spend",
                    of: .users,
                    .statistic(.mean, column: "price", .init(log: true, scale: .standard))
                ),
                Feature("visits", of: .users, .statistic(.count, column: nil, .init())),
                Feature(
                    "genres",
                    of: .items,
                    .category(.init(column: "genres", separator: "|", last: 5))
                ),
                Feature("band", of: .items, .bucket(column: "price", boundaries: [10, 20.5])),
                Feature(
                    "price",
                    of: .events,
                    .number(column: "price", .init(fill: .median, scale: .minMax))
                ),
                Feature(
                    "price-or-0",
                    of: .events,
                    .number(column: "price", .init(fill: .value(0)))
                ),
                Feature("hour", of: .events, .time(.hour, zone: "Europe/Rome")),
                Feature("age", of: .events, .age(.init(log: true))),
                Feature(
                    "worth",
                    of: .events,
                    .target(.init(column: "price", by: "city", folds: 3, smoothing: 5, seed: 1))
                ),
            ]
        )
    }

    @Test func `a run reads back the pipeline it was started with`() throws {
        let pipeline = try PipelineText.parse(Self.whole)
        let json = try JSON.text(pipeline)
        #expect(try JSONDecoder().decode(Pipeline.self, from: Data(json.utf8)) == pipeline)
    }

    @Test func `all problems are told at once, each with its line and the nearest spelling`() {
        let found = PipelineText.problems(
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
        #expect(PipelineText.problems(text).joined(separator: "\n").contains(words))
    }

    @Test func `lists for those without one are by features that readers can name`() throws {
        func text(_ fallback: String) -> String {
            """
            feed: f
            dataset:
              source: { csv: e.csv }
              columns: { user: u, item: i, time: t }
              users: { csv: u.csv, user: u }
              items: { csv: i.csv, item: i }
              features:
                users: { city: { category: city }, hashed: { category: city, hash: 9 } }
                items: { genres: { category: genres, list: "|" }, price: { number: price } }
                events: { device: { category: device } }
            model: { kind: popularity }
            predict: { for: users, k: 5, spare: 3 }
            publish: { fallback: \(fallback) }
            """
        }
        let both = try PipelineText.parse(text("{ segment: city, category: genres }"))
        #expect(both.publish.fallback == .init(segment: "city", category: "genres"))
        #expect(both.predict.rules.k == 5 && both.predict.served.k == 8)
        let device = try PipelineText.parse(text("{ segment: device }"))
        #expect(device.publish.fallback == .init(segment: "device", category: nil))
        #expect(
            PipelineText.problems(text("{ segment: citty, category: price }")) == [
                "p.yaml:13: publish: fallback: segment \"citty\" is no category; did you mean city?",
                "p.yaml:13: publish: fallback: category \"price\" is no category of items under dataset: features:",
            ]
        )
        for wrong in ["segment: hashed", "segment: genres", "category: city", "kategory: genres"] {
            #expect(PipelineText.problems(text("{ \(wrong) }")).count == 1)
        }
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
            PipelineText.problems(text).contains {
                $0.contains("a split by time needs dataset: columns: time")
            }
        )
    }
}
