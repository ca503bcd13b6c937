// SPDX-License-Identifier: Apache-2.0
import CZlib
import Glibc
import TestSupport
import Testing

@testable import Predictor

struct DelimitedReaderTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func read(
        _ bytes: [UInt8],
        _ format: DelimitedReader.Format = .csv
    ) throws -> [[String]] {
        let path = try folder.write(bytes, to: "file")
        var reader = try DelimitedReader(path, format: format)
        var record = Record()
        var rows: [[String]] = []
        while try reader.next(&record) { rows.append((0..<record.count).map { record.text($0) }) }
        return rows
    }

    @Test(arguments: [
        ("a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        ("a,b\r\n1,2\r\n", [["a", "b"], ["1", "2"]]),
        ("a,b\n1,2", [["a", "b"], ["1", "2"]]),
        ("\n\na\n\n", [["a"]]),
        ("\"a,b\",\"c\"\"d\"\n", [["a,b", "c\"d"]]),
        ("\"two\nlines\",x\n", [["two\nlines", "x"]]),
        ("a,,\n,,\n", [["a", "", ""], ["", "", ""]]),
        ("\"\",x\n\"\"\n", [["", "x"], [""]]),
        ("say \"hi\",x\n", [["say \"hi\"", "x"]]),
        ("\u{feff}a,b\n1,2\n", [["a", "b"], ["1", "2"]]),
        ("\u{feff}", []),
        ("", []),
    ])
    func `CSV is read as RFC 4180 says`(_ text: String, _ rows: [[String]]) throws {
        #expect(try read(Array(text.utf8)) == rows)
    }

    @Test func `TSV has no quotes`() throws {
        #expect(try read(Array("a\t\"b\n".utf8), .tsv) == [["a", "\"b"]])
    }

    @Test func `lines are counted through quoted line breaks`() throws {
        let path = try folder.write("a\n\"x\ny\"\nb\n", to: "file")
        var reader = try DelimitedReader(path, format: .csv)
        var record = Record()
        var lines: [Int] = []
        while try reader.next(&record) { lines.append(record.line) }
        #expect(lines == [1, 2, 4])
    }

    @Test func `records that straddle the buffer are whole`() throws {
        let row = String(repeating: "x", count: 70_001)
        let text = Array(repeating: "\(row),\"\(row)\"", count: 12).joined(separator: "\n")
        let rows = try read(Array(text.utf8))
        #expect(rows.count == 12)
        #expect(rows.allSatisfy { $0 == [row, row] })
    }

    @Test func `an open quote is an error with its line`() throws {
        let error = #expect(throws: PredictorError.self) {
            _ = try read(Array("a,b\n1,\"2\n3,4\n".utf8))
        }
        #expect(error?.description.contains("line 2: a quote is opened and never closed") == true)
    }

    @Test func `gzip is read, and gzip cut short is an error`() throws {
        let rows = (0..<5000).map { "u\($0),i\($0 % 7)" }.joined(separator: "\n")
        let path = folder.path + "/file.gz"
        let file = unsafe gzopen(path, "wb")
        _ = unsafe gzputs(file, rows)
        _ = unsafe gzclose(file)
        var reader = try DelimitedReader(path, format: .csv)
        var record = Record()
        var count = 0
        while try reader.next(&record) { count += 1 }
        #expect(count == 5000)

        let whole = try bytes(of: path)
        let error = #expect(throws: PredictorError.self) { _ = try read(whole.dropLast(200)) }
        #expect(error?.description.contains("the gzip file is cut short") == true)
    }

    private func bytes(of path: String) throws -> [UInt8] {
        // Our own reader would decompress.
        let file = unsafe fopen(path, "rb")
        defer { _ = unsafe fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        let count = unsafe fread(&buffer, 1, buffer.count, file)
        return Array(buffer[..<count])
    }

    @Test func `a file that cannot be read says which and why`() throws {
        for (path, words) in [
            (folder.path + "/absent.csv", "No such file"), (folder.path, "is a folder"),
        ] {
            let error = #expect(throws: PredictorError.self) {
                _ = try DelimitedReader(path, format: .csv)
            }
            #expect(error?.description.contains(path) == true)
            #expect(error?.description.contains(words) == true)
        }
    }
}

struct TimestampTests {
    private func parse(_ text: String) -> Int64? {
        let bytes = Array(text.utf8)
        return try? Timestamp.parse(bytes, 0..<bytes.count).get()
    }

    @Test func `seconds and ISO 8601 are read`() {
        #expect(parse("0") == 0)
        #expect(parse("874724710") == 874_724_710)
        #expect(parse("874724710.75") == 874_724_710)
        #expect(parse("1970-01-01") == 0)
        #expect(parse("2020-09-08") == 1_599_523_200)
        #expect(parse("2020-09-08T12:30:05Z") == 1_599_568_205)
        #expect(parse("2020-09-08 12:30:05.25") == 1_599_568_205)
        #expect(parse("2020-02-29") == 1_582_934_400)
    }

    @Test(arguments: [
        "", "-1", "abc", "12x", "1.2.3", "1599523200000", "2020-13-01", "2021-02-29",
        "2020-09-08T25:00:00", "2020-9", "2020-09-08T12", "99999999999999999999",
    ])
    func `what is no point in time is refused`(_ text: String) {
        #expect(parse(text) == nil)
    }
}

struct VocabularyTests {
    @Test func `ids get indices in order and are found again`() throws {
        var vocabulary = Vocabulary()
        let ids = (0..<5000).map { "id \($0 * 7)" } + ["émoji 🍲", "a\nb", " "]
        for (index, id) in ids.enumerated() {
            let bytes = Array(id.utf8)
            #expect(vocabulary.insert(bytes, 0..<bytes.count) == index)
            #expect(vocabulary.insert(bytes, 0..<bytes.count) == index)
        }
        #expect(vocabulary.count == ids.count)
        #expect(ids.indices.allSatisfy { vocabulary[$0] == ids[$0] })
        #expect(vocabulary.index(of: "émoji 🍲") == 5000)
        #expect(vocabulary.index(of: "absent") == nil)
        #expect(vocabulary.insert([0xff, 0xfe], 0..<2) == nil)
        #expect(vocabulary.count == ids.count)
    }

    @Test func `the most frequent come first, ties in the order they came`() {
        var vocabulary = Vocabulary()
        for id in ["a", "b", "c", "d"] { _ = vocabulary.insert(Array(id.utf8), 0..<1) }
        let (sorted, newIndex) = vocabulary.sorted(byCounts: [1, 5, 1, 9])
        #expect((0..<4).map { sorted[$0] } == ["d", "b", "a", "c"])
        #expect(newIndex == [2, 1, 3, 0])
        #expect(sorted.index(of: "c") == 3)
    }
}

struct SafeTensorsTests {
    @Test func `tensors come back as they were, and Python can map them`() throws {
        let folder = try TemporaryFolder()
        let path = folder.path + "/x.safetensors"
        try SafeTensors.write(
            [
                "f": .float32([1.5, -2, .infinity, 0], shape: [2, 2]), "i": .int32([7], shape: [1]),
                "l": .int64([.max, .min], shape: [2]), "empty": .uint8([], shape: [0]),
            ],
            to: path
        )
        let file = try TensorFile(path)
        #expect(try file.float32("f") == [1.5, -2, .infinity, 0])
        #expect(try file.shape("f") == [2, 2])
        #expect(try file.int32("i") == [7])
        #expect(try file.int64("l") == [.max, .min])
        #expect(try file.uint8("empty") == [])
        #expect(throws: PredictorError.self) { _ = try file.int64("f") }
        #expect(throws: PredictorError.self) { _ = try file.int64("absent") }
    }

    @Test func `a file cut short is refused`() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write([9, 0, 0, 0, 0, 0, 0, 0, 123], to: "short")
        #expect(throws: PredictorError.self) { _ = try TensorFile(path) }
    }
}

struct EditDistanceTests {
    @Test func `the nearest word is offered when it is near`() {
        #expect(EditDistance.nearest(to: "user_ip", in: ["user_id", "item_id"]) == "user_id")
        #expect(EditDistance.nearest(to: "zzz", in: ["user_id", "item_id"]) == nil)
        #expect(EditDistance.nearest(to: "", in: ["a"]) == nil)
        #expect(EditDistance.distance("kitten", "sitting") == 3)
    }
}
