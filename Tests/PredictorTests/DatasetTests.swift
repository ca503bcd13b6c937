// SPDX-License-Identifier: Apache-2.0
import Tables
import TestSupport
import Testing

@testable import Predictor

struct DatasetTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func build(
        _ text: String,
        time: String? = "time",
        sessions: DatasetSettings.Sessions = .init(),
        keep: Keep = Keep(),
        weights: Weights? = nil,
        badRows: Double = 0.01,
        split: Split = .leaveLastOne(validation: false),
        threads: Int = 2,
        buffer: Int = DatasetBuilder.buffer
    ) throws -> (Dataset, ReadReport) {
        let path = try folder.write(text, to: "events.csv")
        let (dataset, summary) = try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: time),
            sessions: sessions,
            keep: keep,
            weights: weights,
            badRows: badRows,
            split: split
        ).built(threads: threads, buffer: buffer)
        return (dataset, summary.read)
    }

    private func items(_ dataset: Dataset, _ events: Range<Int>) -> [String] {
        events.map { dataset.items[Int(dataset.eventItems[$0])] }
    }

    @Test func `each user's events are in the order of time, ties as they stand in the file`()
        throws
    {
        let (dataset, report) = try build(
            "user,item,time\nb,x,30\na,y,20\nb,z,10\na,x,20\nb,w,30\n"
        )
        #expect(report.rows == 5 && report.badRows == 0)
        let b = try #require(dataset.users.index(of: "b"))
        let a = try #require(dataset.users.index(of: "a"))
        #expect(items(dataset, dataset.events(ofUser: b)) == ["z", "x", "w"])
        #expect(items(dataset, dataset.events(ofUser: a)) == ["y", "x"])
        #expect(dataset.items[0] == "x")
    }

    @Test func `a session belongs to its user, and a user's sessions are in the order of time`()
        throws
    {
        let (dataset, _) = try build(
            """
            user,item,time,s
            a,late,50,2
            a,early,10,1
            b,other,20,1
            a,early2,60,1

            """,
            sessions: .init(by: .column("s"))
        )
        #expect(dataset.sequenceCount == 3)
        let a = try #require(dataset.users.index(of: "a"))
        #expect(items(dataset, dataset.events(ofUser: a)) == ["early", "early2", "late"])
    }

    @Test func `rows that cannot be used are counted and the first ten told by line`() throws {
        let good = (0..<100).map { "u,i\($0),\($0)" }.joined(separator: "\n")
        let (dataset, report) = try build(
            "user,item,time\n\(good)\nu,i\nu,,5\n,i,5\nu,i,-5\nu,i,soon\nu,i,5,6\n",
            badRows: 0.1
        )
        #expect(dataset.eventItems.count == 100)
        #expect(report.rows == 106 && report.badRows == 6)
        #expect(
            report.examples == [
                "line 102: 2 fields where the header has 3", "line 103: empty item",
                "line 104: empty user", "line 105: time: negative timestamp",
                "line 106: time: timestamp is neither seconds nor ISO 8601",
                "line 107: 4 fields where the header has 3",
            ]
        )
    }

    @Test func `invalid UTF-8 is a bad row, not a crash`() throws {
        let path = try folder.write(
            Array("user,item\n".utf8) + Array("a,b\n".utf8) + [0x61, 0x2c, 0xff, 0xfe, 0x0a],
            to: "bad.csv"
        )
        let (dataset, summary) = try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: nil),
            badRows: 0.5
        ).built()
        #expect(dataset.eventItems.count == 1)
        #expect(summary.read.examples == ["line 3: item is not valid UTF-8"])
    }

    @Test func `more bad rows than allowed fail, with the share and examples`() throws {
        let error = #expect(throws: PredictorError.self) {
            _ = try build("user,item,time\na,x,1\na,y,never\n")
        }
        let text = try #require(error?.description)
        #expect(text.contains("1 of 2 rows cannot be used (50.0 %; at most 1.0 % may be bad)"))
        #expect(text.contains("line 3: time: timestamp is neither"))
        #expect(text.contains("bad-rows"))
    }

    @Test(arguments: [
        ("", "is empty"), ("user,item,time\n", "has no rows"),
        ("user,thing,time\na,b,1\n", "has no column \"item\"; it has user, thing, time"),
        ("user,itme,time\na,b,1\n", "did you mean \"itme\"?"),
        ("PK\u{3}\u{0}\u{0}rubbish\n", "is not a text file"),
    ])
    func `a file that is not a table says what it is`(_ text: String, _ words: String) throws {
        let error = #expect(throws: (any Error).self) { _ = try build(text) }
        #expect(error.map { "\($0)" }?.contains(words) == true)
    }

    @Test func `ids of every kind come back out`() throws {
        let ids = [
            "with space", "quo\"te", "co:lon", "{x}", "new\nline", "🍲",
            String(repeating: "k", count: 4096),
        ]
        let rows = ids.map {
            "\"\($0.replacing("\"", with: "\"\""))\",\"\($0.replacing("\"", with: "\"\""))\",1"
        }
        let (dataset, _) = try build("user,item,time\n" + rows.joined(separator: "\n"))
        #expect(Set((0..<dataset.users.count).map { dataset.users[$0] }) == Set(ids))
        #expect(Set((0..<dataset.items.count).map { dataset.items[$0] }) == Set(ids))
    }

    @Test func `leave-last-one keeps back the last event of users who have two`() throws {
        let (dataset, _) = try build("user,item,time\na,x,1\na,y,2\nb,x,1\n")
        let test = dataset.eventParts.indices.filter {
            dataset.eventParts[$0] == Part.test.rawValue
        }
        #expect(test.map { dataset.items[Int(dataset.eventItems[$0])] } == ["y"])
    }

    @Test func `a split by time keeps back the last days and nothing before`() throws {
        let rows = (0..<10).map { "u\($0 % 3),i\($0),\($0 * 86_400)" }.joined(separator: "\n")
        let (dataset, _) = try build(
            "user,item,time\n" + rows,
            split: .time(validation: 0, test: 2 * 86_400)
        )
        for (time, part) in zip(dataset.eventTimes, dataset.eventParts) {
            #expect((part == Part.test.rawValue) == (time > 7 * 86_400))
        }
    }

    @Test func `a split by sequences keeps sequences whole and is the same each time`() throws {
        let rows = (0..<400).map { "u\($0 % 100),i\($0 % 7),\($0)" }.joined(separator: "\n")
        let split = Split.sequences(validation: 0.2, test: 0.1, seed: 42)
        let (dataset, _) = try build("user,item,time\n" + rows, split: split)
        var parts: [UInt8: Int] = [:]
        for sequence in 0..<dataset.sequenceCount {
            let events = dataset.events(ofSequence: sequence)
            let own = Set(events.map { dataset.eventParts[$0] })
            #expect(own.count == 1)
            parts[own.first ?? 9, default: 0] += 1
        }
        #expect(parts == [0: 70, 1: 20, 2: 10])
        #expect(
            try build("user,item,time\n" + rows, split: split).0.eventParts
                .elementsEqual(dataset.eventParts)
        )
    }

    @Test func `transposed, items have the users that had them, by time`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(
            "user,item,time\na,x,5\na,y,6\nb,x,1\nb,x,9\nc,y,2\nb,y,2\n",
            to: "events.csv"
        )
        let dataset = try Checkerboard.settings(path).built().dataset
        let turned = dataset.transposed()
        func events(_ owner: String) throws -> [String] {
            let owner = Int(try #require(turned.users.index(of: owner)))
            return turned.events(ofUser: owner).map { event in
                "\(turned.items[Int(turned.eventItems[event])])\(turned.eventTimes[event])"
            }
        }
        #expect(try events("x") == ["b1", "a5", "b9"])
        // c stands behind b among users: ties are in the order of users.
        let ties = try events("y")
        #expect(Set(ties.prefix(2)) == ["b2", "c2"] && ties.last == "a6")
        func parts(_ dataset: Dataset, _ name: (Int, Int) -> String) -> Set<String> {
            Set(
                (0..<dataset.users.count).flatMap { owner in
                    dataset.events(ofUser: owner).map { event in
                        "\(name(owner, Int(dataset.eventItems[event]))) \(dataset.eventTimes[event]) \(dataset.eventParts[event])"
                    }
                }
            )
        }
        #expect(
            parts(dataset) { dataset.users[$0] + dataset.items[$1] }
                == parts(turned) { turned.items[$1] + turned.users[$0] }
        )
        #expect(turned.sequenceCount == 2 && turned.schema.columns.isEmpty)
        #expect(turned.ids(of: .users).count == 2)
    }

    @Test func `titles are found by id, and absent ones are nil`() throws {
        let events = try folder.write("user,item,time\na,1,1\na,2,2\n", to: "e.csv")
        let table = try folder.write("id\tname\n2\tTwo: the \"sequel\"\n9\tNobody's\n", to: "i.tsv")
        let (dataset, _) = try DatasetSettings(
            source: TableSource(.csv, events),
            columns: .init(user: "user", item: "item", time: "time"),
            items: .init(table: TableSource(.tsv, table), id: "id", title: "name")
        ).built()
        let two = try #require(dataset.items.index(of: "2"))
        let one = try #require(dataset.items.index(of: "1"))
        #expect(dataset.title(two) == "Two: the \"sequel\"")
        #expect(dataset.title(one) == nil)
    }

    @Test func `what a table of items lacks is told, and too many bad rows fail`() throws {
        let events = try folder.write("user,item,time\na,1,1\na,2,2\n", to: "e.csv")
        let table = try folder.write("id,price\n2,9.5\n7,1\n8,cheap\n", to: "i.csv")
        var settings = DatasetSettings(
            source: TableSource(.csv, events),
            columns: .init(user: "user", item: "item", time: "time"),
            items: EntityTable(table: TableSource(.csv, table), id: "id"),
            features: [Feature("price", of: .items, .number(column: "price", .init()))],
            badRows: 0.5
        )
        let (_, summary) = try settings.built()
        #expect(
            summary.read.lines == [
                "\(table): 3 rows, 1 unusable, 1 without events; 1 have no row"
            ]
        )
        settings.badRows = 0.1
        let error = #expect(throws: PredictorError.self) { try settings.built() }
        #expect(error?.description.contains("line 4: price is not a number") == true)
        settings.features[0].kind = .number(column: "prize", .init())
        let missing = #expect(throws: TableError.self) { try settings.built() }
        #expect(missing?.description.contains("did you mean \"price\"?") == true)
    }

    @Test func `a split that leaves nothing to train on is told`() throws {
        let error = #expect(throws: PredictorError.self) {
            try build(
                "user,item,time\na,1,10\na,2,20\n",
                weights: nil,
                split: .time(validation: 0, test: 86_400)
            )
        }
        #expect(error?.description.contains("the split leaves nothing to train on") == true)
    }

    @Test func `numbers that are too large are bad rows, not infinities`() throws {
        let path = try folder.write("user,item,price\na,1,1e39\na,2,5\nb,1,inf\n", to: "p.csv")
        let (dataset, summary) = try DatasetSettings(
            source: TableSource(.csv, path),
            columns: .init(user: "user", item: "item", time: nil),
            features: [Feature("price", of: .events, .number(column: "price", .init()))],
            badRows: 0.7
        ).built()
        #expect(summary.read.badRows == 2 && dataset.eventItems.count == 1)
        #expect(summary.read.examples[0] == "line 2: price is too large")
    }
}
