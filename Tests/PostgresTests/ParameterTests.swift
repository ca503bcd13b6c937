// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Postgres

struct ParameterTests {
    @Test func `what Postgres cannot hold does not end a text`() {
        #expect(Parameter("a\0b").text == "a\u{FFFD}b")
        #expect(Parameter.array(["a\0b", "\0"]).text == "{\"a\u{FFFD}b\",\"\u{FFFD}\"}")
    }

    @Test func `array elements are quoted so that nothing in them is read as syntax`() {
        #expect(Parameter.array(["a", nil, #"q"\,{}"#]).text == #"{"a",NULL,"q\"\\,{}"}"#)
        #expect(Parameter.array([String]().map { Optional($0) }).text == "{}")
        #expect(Parameter.array([1, -2]).text == "{1,-2}")
        #expect(Parameter.array([1.5, nil]).text == "{1.5,NULL}")
    }

    @Test func `a duration is sent in milliseconds`() {
        #expect(Parameter(Duration.milliseconds(1500)).text == "1500.0 milliseconds")
    }
}

struct CopyTextTests {
    @Test(
        arguments: [
            ["plain", "two words"], ["tab\there", "line\nbreak", "back\\slash", "return\r"],
            [nil, "", "\\N", "emoji 🍲"], [nil],
        ] as [[String?]]
    )
    func `a row comes back as it was`(_ row: [String?]) {
        var line: [UInt8] = []
        CopyText.encode(row, into: &line)
        #expect(line.last == UInt8(ascii: "\n"))
        #expect(line.count { $0 == UInt8(ascii: "\n") } == 1)
        #expect(CopyText.decode(line) == row)
    }
}

struct PostgresErrorTests {
    @Test func `the text has the state, the server's words and the hint`() {
        let error = PostgresError(
            .statement,
            sqlState: "42P01",
            message: "relation \"x\" does not exist",
            hint: "look again"
        )
        #expect(
            error.description
                == "Postgres refused a statement (42P01): relation \"x\" does not exist\nhint: look again"
        )
        #expect(!error.endsConnection && !error.isRetryable)
        #expect(PostgresError(.statement, sqlState: "40P01", message: "").isRetryable)
        #expect(PostgresError(.timeout, message: "").endsConnection)
    }

    @Test func `a mistyped URL is not repeated, because it may hold a password`() throws {
        let error = #expect(throws: PostgresError.self) {
            _ = try Connection(ConnectionSettings("postgres://me:s3cret@host/db?nonsense=1"))
        }
        #expect(error?.description.contains("s3cret") == false)
        #expect(error?.message == "the database URL cannot be read")
    }
}
