// SPDX-License-Identifier: Apache-2.0
import Tables
import Testing

struct TimestampTests {
    /// Seconds.
    private func parse(_ text: String) -> Double? {
        (try? Timestamp.parse(text).get()).map { Double($0) / 1e6 }
    }

    @Test func `seconds and ISO 8601 are read`() {
        #expect(parse("0") == 0)
        #expect(parse("874724710") == 874_724_710)
        #expect(parse("874724710.75") == 874_724_710.75)
        #expect(parse("1970-01-01") == 0)
        #expect(parse("2020-09-08") == 1_599_523_200)
        #expect(parse("2020-09-08T12:30:05Z") == 1_599_568_205)
        #expect(parse("2020-09-08 12:30:05.25") == 1_599_568_205.25)
        #expect(parse("2020-02-29") == 1_582_934_400)
    }

    @Test func `milli-, micro- and nanoseconds are known by their size`() {
        #expect(parse("1599523200123") == 1_599_523_200.123)
        #expect(parse("1599523200123456") == 1_599_523_200.123456)
        #expect(parse("1599523200123456789") == 1_599_523_200.123456)
        #expect(parse("253402300799") == 253_402_300_799)
    }

    @Test func `a zone is taken off`() {
        #expect(parse("2020-09-08T12:30:05+02:00") == 1_599_561_005)
        #expect(parse("2020-09-08T12:30:05.5-0330") == 1_599_580_805.5)
        #expect(parse("2020-09-08 12:30:05+02") == 1_599_561_005)
        #expect(parse("2020-09-08T12:30Z") == 1_599_568_200)
    }

    @Test(arguments: [
        "", "-1", "abc", "12x", "1.2.3", "1970-01-01T00:00:00+01:00", "2020-09-08T12:30:05+2",
        "2020-09-08T12:30:05Zulu", "2020-13-01", "2021-02-29",
        "2020-09-08T25:00:00", "2020-9", "2020-09-08T12", "99999999999999999999",
    ])
    func `what is no point in time is refused`(_ text: String) {
        #expect(parse(text) == nil)
    }
}
