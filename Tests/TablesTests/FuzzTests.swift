// SPDX-License-Identifier: Apache-2.0
import Foundation
import TestSupport
import Testing

@testable import Tables

/// Tables of random bytes: every row is kept or reported, at any number of threads.
struct FuzzTests {
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let mixed = (state ^ (state >> 33)) &* 0xff51_afd7_ed55_8ccd
            return mixed ^ (mixed >> 33)
        }
    }

    private static let rounds = Effort.isLong ? 20_000 : 600
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    // MARK: CSV

    /// What RFC 4180 and docs/data.md make of it, a byte after the other; nil for a quote that is
    /// never closed.
    private func plainly(_ bytes: [UInt8]) -> (rows: [[String]], bad: Int)? {
        let (quote, comma, newline, cr) = (UInt8(34), UInt8(44), UInt8(10), UInt8(13))
        var rows: [[String]] = []
        var bad = 0
        var at = 0
        func ends(_ place: Int) -> Bool { place == bytes.count || bytes[place] == newline }
        while at < bytes.count {
            if bytes[at] == newline {
                at += 1
                continue
            }
            if bytes[at] == cr, at + 1 < bytes.count, bytes[at + 1] == newline {
                at += 2
                continue
            }
            var fields: [[UInt8]] = []
            while true {
                var field: [UInt8] = []
                var isQuoted = false
                if at < bytes.count, bytes[at] == quote {
                    isQuoted = true
                    at += 1
                    while true {
                        guard at < bytes.count else { return nil }
                        if bytes[at] == quote {
                            guard at + 1 < bytes.count, bytes[at + 1] == quote else { break }
                            at += 1
                        }
                        field.append(bytes[at])
                        at += 1
                    }
                    at += 1
                }
                let tail = at
                while !ends(at), bytes[at] != comma { at += 1 }
                field += bytes[tail..<at]
                if ends(at), at > tail || !isQuoted, field.last == cr { field.removeLast() }
                fields.append(field)
                let isLast = ends(at)
                at += 1
                if isLast { break }
            }
            let texts = fields.map { String(validating: $0, as: UTF8.self) }
            if fields.count == 2, let a = texts[0], let b = texts[1] {
                rows.append([a, b])
            } else {
                bad += 1
            }
        }
        return (rows, bad)
    }

    @Test func `random CSV is read as a plain reader reads it, and no row is lost`() throws {
        var generator = Generator(state: 1)
        let pieces: [[UInt8]] = [
            [34], [34, 34], [44], [10], [13], [13, 10], [97], [98, 99], [195, 188], [0xff], [32],
            Array("\"x,y\"".utf8), Array("\"two\nlines\",".utf8), Array("1,2\n".utf8),
        ]
        var unclosed = 0
        var kept = 0
        for _ in 0..<Self.rounds {
            let body = (0..<Int.random(in: 0...60, using: &generator)).flatMap { _ in
                pieces[Int.random(in: 0..<pieces.count, using: &generator)]
            }
            let path = try folder.write(Array("a,b\n".utf8) + body, to: "t.csv")
            let expected = plainly(body)
            for (threads, blockBytes) in [(1, 1 << 20), (2, 8), (1, 1)] {
                let rows = Rows(["a", "b"])
                do {
                    _ = try Table.files(path, .csv).read(
                        rows.columns,
                        threads: threads,
                        blockBytes: blockBytes,
                        into: rows
                    )
                    guard let expected else {
                        Issue.record("a quote that is not closed was taken: \(body)")
                        continue
                    }
                    #expect(rows.rows == expected.rows, "\(body)")
                    #expect(rows.badCount == expected.bad, "\(body)")
                    kept += rows.rows.count
                } catch let error as TableError {
                    #expect(expected == nil, "\(error) for \(body)")
                    unclosed += 1
                }
            }
        }
        #expect(unclosed > 50 && kept > 500, "the test tests something")
    }

    // MARK: JSON lines

    @Test func `mutated JSON lines are kept or reported, each of them`() throws {
        var generator = Generator(state: 2)
        let lines = [
            #"{"a":"x","b":1}"#, #"{"b":null,"a":"ü\n\u00e9\ud83d\ude00","c":[1,{"a":2}]}"#,
            #"{"a":{"b":"deep"},"b":-1.5e3}"#, #"{}"#, #"{"a":true,"b":"","b":"again"}"#,
        ].map { Array($0.utf8) }
        var kept = 0
        var bad = 0
        for _ in 0..<Self.rounds {
            var body: [UInt8] = []
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                var line = lines[Int.random(in: 0..<lines.count, using: &generator)]
                for _ in 0..<Int.random(in: 0...2, using: &generator) where !line.isEmpty {
                    let place = Int.random(in: 0..<line.count, using: &generator)
                    switch Int.random(in: 0..<4, using: &generator) {
                    case 0: line.remove(at: place)
                    case 1: line[place] = UInt8.random(in: 0...255, using: &generator)
                    case 2: line.insert(line[place], at: place)
                    default: line.removeSubrange(place...)
                    }
                }
                body += line.filter { $0 != 10 } + [10]
            }
            let wanted = body.split(separator: 10).count { line in
                !line.allSatisfy { [9, 13, 32].contains($0) }
            }
            let path = try folder.write(body, to: "t.jsonl")
            for blockBytes in [1 << 20, 4] {
                let rows = Rows(["a", "b"])
                _ = try Table.files(path, .jsonl).read(
                    rows.columns,
                    threads: 2,
                    blockBytes: blockBytes,
                    into: rows
                )
                #expect(rows.rows.count + rows.badCount == wanted, "\(body)")
                kept += rows.rows.count
                bad += rows.badCount
            }
        }
        #expect(kept > 500 && bad > 500, "the test tests something")
    }

    // MARK: compressed files

    @Test(arguments: ["gz", "zst"])
    func `damaged compressed files are errors or whole, never a part`(_ kind: String) throws {
        let text = "a,b\n" + (0..<2000).map { "\($0),x\($0 % 7)\n" }.joined()
        let whole = try kind == "gz" ? gzip(text) : zstd(text)
        var generator = Generator(state: 3)
        var errors = 0
        for _ in 0..<Self.rounds / 2 {
            var bytes = whole
            let place = Int.random(in: 0..<bytes.count, using: &generator)
            if Bool.random(using: &generator) {
                bytes[place] ^= UInt8(1) << UInt8.random(in: 0..<8, using: &generator)
            } else {
                bytes.removeSubrange(place...)
            }
            let path = try folder.write(bytes, to: "t.csv")
            let rows = Rows(["a", "b"])
            do {
                _ = try Table.files(path, .csv).read(rows.columns, into: rows)
                // A flip in a field that nothing depends on (a time, a name), or in the magic number,
                // which makes it a text of one long line.
                #expect(rows.rows.count == 2000)
            } catch is TableError {
                errors += 1
            }
        }
        #expect(errors > Self.rounds / 3)
    }
}
