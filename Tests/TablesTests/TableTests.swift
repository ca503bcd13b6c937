// SPDX-License-Identifier: Apache-2.0
import TestSupport
import Testing

@testable import Tables

/// Rows as texts, for small tables.
final class Rows: BatchSink, @unchecked Sendable {
    private(set) var rows: [[String]] = []
    private(set) var bad: [String] = []
    private(set) var badCount = 0
    let columns: [ColumnRequest]

    /// All columns as texts that may be empty, unless their kinds are given.
    init(_ names: [String]) {
        columns = names.enumerated().map { ColumnRequest($1, .category(vocabulary: $0)) }
    }

    init(_ columns: [ColumnRequest]) { self.columns = columns }

    func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) {
        for row in 0..<batch.count {
            var values: [String] = []
            for (place, column) in columns.enumerated() {
                switch column.kind {
                case .id(let vocabulary), .category(let vocabulary):
                    let code = batch.columns[place].codes[row]
                    values.append(code < 0 ? "" : vocabularies[vocabulary][Int(code)])
                case .time: values.append("\(batch.columns[place].times[row])")
                case .number: values.append("\(batch.columns[place].numbers[row])")
                }
            }
            rows.append(values)
        }
        badCount += batch.badRows
        bad += batch.examples.map { "\($0.line): \($0.reason)" }
    }
}

struct TableTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func read(
        _ bytes: [UInt8],
        _ format: TableFormat = .csv,
        _ rows: Rows,
        threads: Int = 1,
        blockBytes: Int = 1 << 20
    ) throws {
        let path = try folder.write(bytes, to: "table.\(format)")
        _ = try Table.files(path, format).read(
            rows.columns,
            threads: threads,
            blockBytes: blockBytes,
            into: rows
        )
    }

    private func rows(_ text: String, _ format: TableFormat = .csv, _ names: String...) throws
        -> [[String]]
    {
        let rows = Rows(names)
        try read(Array(text.utf8), format, rows)
        return rows.rows
    }

    @Test(arguments: [
        ("a,b\n1,2\n", [["1", "2"]]),
        ("a,b\r\n1,2\r\n3,4\n", [["1", "2"], ["3", "4"]]),
        ("a,b\n1,2", [["1", "2"]]),
        ("\n\na,b\n\n\r\n1,2\n\n", [["1", "2"]]),
        ("a,b\n\"1,2\",\"c\"\"d\"\n", [["1,2", "c\"d"]]),
        ("a,b\r\n\"1\",\"2\"\r\n", [["1", "2"]]),
        ("a,b\n\"two\nlines\",x\n", [["two\nlines", "x"]]),
        ("a,b\n,\n\"\",\n", [["", ""], ["", ""]]),
        ("a,b\nsay \"hi\",x\n5\" disk,y\n", [["say \"hi\"", "x"], ["5\" disk", "y"]]),
        ("\u{feff}a,b\n1,2\n", [["1", "2"]]),
        ("\"a\",\"b\"\n\"1\"x,2\n", [["1x", "2"]]),
        ("b,c,a\n2,0,1\n", [["1", "2"]]),
        ("a,b\n", []),
    ])
    func `CSV is read as RFC 4180 says`(_ text: String, _ expected: [[String]]) throws {
        #expect(try rows(text, .csv, "a", "b") == expected)
    }

    @Test func `TSV has no quotes`() throws {
        #expect(try rows("x\ty\na\t\"b\n", .tsv, "x", "y") == [["a", "\"b"]])
    }

    @Test(arguments: [
        (#"{"a": "x", "b": 1}"#, ["x", "1"]),
        (#"{"b":null,"a":"é\n\u00e9\ud83c\udf72\/"}"#, ["é\né🍲/", ""]),
        (#"{"c":{"a":"not this"},"a":["x", 1],"b":-1.5e3}"#, [#"["x", 1]"#, "-1.5e3"]),
        (#"  {"a":true}  "#, ["true", ""]),
        (#"{"a":"first","\u0061":"last"}"#, ["last", ""]),
        ("{}", ["", ""]),
    ])
    func `JSON lines are read by key`(_ line: String, _ expected: [String]) throws {
        #expect(try rows(line + "\n\n" + line, .jsonl, "a", "b") == [expected, expected])
    }

    @Test(arguments: [
        ("[1]", "is not a JSON object"), (#"{"a":1"#, "is not closed"),
        (#"{"a":1,}"#, "a JSON string was expected"), (#"{"a" 1}"#, "has no value"),
        (#"{"a":"x}"#, "a JSON string is not closed"), (#"{"a":nul}"#, "not a JSON value"),
        (#"{"a":"\ud83c"}"#, "an escape"), (#"{"a":1} {"a":2}"#, "text behind"),
        (String(repeating: #"{"a":"#, count: 100), "nested too deep"),
        (#"{"a":"# + String(repeating: "[", count: 100_000), "nested too deep"),
    ])
    func `a line that is not JSON is a bad row`(_ line: String, _ words: String) throws {
        let rows = Rows(["a"])
        try read(Array("{\"a\":0}\n\(line)\n{\"a\":2}".utf8), .jsonl, rows)
        #expect(rows.rows == [["0"], ["2"]])
        #expect(rows.bad.count == 1)
        #expect(rows.bad[0].hasPrefix("2: ") && rows.bad[0].contains(words), "\(rows.bad)")
    }

    @Test func `columns are read as what they are asked for`() throws {
        let rows = Rows([
            ColumnRequest("id", .id(vocabulary: 0)), ColumnRequest("t", .time),
            ColumnRequest("n", .number), ColumnRequest("c", .category(vocabulary: 1)),
        ])
        let text = """
            id,t,n,c
            a,1,1.5,x
            ,1,1,x
            b,2020-09-08,,
            c,late,1,x
            d,2,1e3,y
            e,3,much,y
            f,4
            a,5,-0.25,x

            """
        try read(Array(text.utf8), .csv, rows)
        #expect(
            rows.rows == [
                ["a", "1000000", "1.5", "x"], ["b", "1599523200000000", "nan", ""],
                ["d", "2000000", "1000.0", "y"], ["a", "5000000", "-0.25", "x"],
            ]
        )
        #expect(
            rows.bad == [
                "3: empty id", "5: t: timestamp is neither seconds nor ISO 8601",
                "7: n is not a number", "8: 2 fields where the header has 4",
            ]
        )
    }

    @Test func `lines are counted through quoted breaks, blocks and files`() throws {
        let first = "a\n\"x\ny\"\n" + String(repeating: "z\n", count: 100) + "1,2\n"
        _ = try folder.write(first, to: "p-1.csv")
        _ = try folder.write("b,a\n1,2\n3\n", to: "p-2.csv")
        let rows = Rows(["a"])
        _ = try Table.files(folder.path + "/p-*.csv", .csv).read(
            rows.columns,
            threads: 3,
            blockBytes: 32,
            into: rows
        )
        #expect(rows.rows.count == 102)
        #expect(rows.rows.last == ["2"])
        #expect(
            rows.bad == [
                "104: 2 fields where the header has 1", "3: 1 fields where the header has 2",
            ]
        )
    }

    @Test func `the order and the codes do not depend on threads and blocks`() throws {
        var text = "user,item\n"
        for row in 0..<20_000 { text += "u\(row * row % 7919),\"i\(row % 1013)\"\n" }
        let columns = [
            ColumnRequest("user", .id(vocabulary: 0)), ColumnRequest("item", .id(vocabulary: 1)),
        ]
        let path = try folder.write(text, to: "big.csv")
        let alone = Rows(columns)
        let expected = try Table.files(path, .csv).read(columns, threads: 1, into: alone)
        for (threads, bytes) in [(2, 1000), (4, 4096), (3, 50_000)] {
            let rows = Rows(columns)
            let vocabularies = try Table.files(path, .csv)
                .read(columns, threads: threads, blockBytes: bytes, into: rows)
            #expect(rows.rows == alone.rows)
            #expect(vocabularies.map(\.ids) == expected.map(\.ids))
        }
    }

    @Test func `an open quote is an error with its line`() throws {
        let error = #expect(throws: TableError.self) {
            _ = try rows("a,b\n1,\"2\n3,4\n", .csv, "a")
        }
        #expect(error?.description.contains("line 2: a quote is opened and never closed") == true)
    }

    @Test func `a record without end is an error before memory is`() throws {
        let text = "a\nx\n\"" + String(repeating: "y", count: 5 << 20)
        let error = #expect(throws: TableError.self) { _ = try rows(text, .csv, "a") }
        #expect(error?.description.contains("a record is longer than 1 MiB") == true)
    }

    @Test func `gzip and Zstandard are read, and cut short they are errors`() throws {
        let text = "n\n" + (0..<50_000).map { "\($0)\n" }.joined()
        for (bytes, name) in [(try gzip(text), "gzip"), (zstd(text), "Zstandard")] {
            let rows = Rows(["n"])
            try read(bytes, .csv, rows, threads: 2, blockBytes: 10_000)
            #expect(rows.rows.count == 50_000)
            #expect(rows.rows.last == ["49999"])
            let error = #expect(throws: TableError.self) {
                try read(bytes.dropLast(200), .csv, Rows(["n"]))
            }
            #expect(error?.description.contains("the \(name) file is cut short") == true)
        }
    }

    @Test(arguments: [
        ("", "is empty"), ("\u{feff}", "is empty"),
        ("PK\u{3}\u{0}\u{0}rubbish\n", "is not a text file"),
        ("user,thing\na,b\n", "has no column \"item\"; it has user, thing"),
        ("user,itme\na,b\n", "did you mean \"itme\"?"),
        ("item,item\na,b\n", "has two columns \"item\""),
    ])
    func `a file that is not the table says what it is`(_ text: String, _ words: String) {
        let error = #expect(throws: TableError.self) { _ = try rows(text, .csv, "item") }
        #expect(error?.description.contains(words) == true)
    }

    @Test func `a file that cannot be read says which and why`() throws {
        for (path, words) in [
            (folder.path + "/absent.csv", "No such file"), (folder.path, "is a folder"),
            (folder.path + "/none-*.csv", "no file matches"),
        ] {
            let error = #expect(throws: TableError.self) {
                let rows = Rows(["a"])
                _ = try Table.files(path, .csv).read(rows.columns, into: rows)
            }
            #expect(error?.description.contains(path) == true)
            #expect(error?.description.contains(words) == true)
        }
    }

    @Test func `what the sink throws ends the reading`() throws {
        struct Enough: Error {}
        final class Sink: BatchSink {
            func take(_ batch: borrowing Batch, _ vocabularies: borrowing [Vocabulary]) throws {
                throw Enough()
            }
        }
        let path = try folder.write("a\n" + String(repeating: "x\n", count: 10_000), to: "t.csv")
        #expect(throws: Enough.self) {
            _ = try Table.files(path, .csv).read(
                [ColumnRequest("a", .id(vocabulary: 0))],
                threads: 3,
                blockBytes: 100,
                into: Sink()
            )
        }
    }
}
