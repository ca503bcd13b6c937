// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import CacheWriter

@Suite struct SplitTests {
    @Test func `ids fall where Python's hashlib says`() throws {
        let split = try #require(Split("s1 A=1:50 B=2:30 C=live:20"))
        let arms = (0..<24).map { split.arm(of: "u\($0)").name }.joined()
        #expect(arms == "BBAAAACABCAABAACAABBABBA")
        #expect(split.arm(of: "日本").name == "C")
    }

    @Test func `shares are kept, and an id stays where the share only grows`() throws {
        let ten = try #require(Split("salt A=1:10 B=2:90"))
        let twenty = try #require(Split("salt A=1:20 B=2:80"))
        let other = try #require(Split("pepper A=1:10 B=2:90"))
        let ids = (0..<20_000).map { "user-\($0)" }
        let inTen = Set(ids.filter { ten.arm(of: $0).name == "A" })
        let inTwenty = Set(ids.filter { twenty.arm(of: $0).name == "A" })
        let inOther = Set(ids.filter { other.arm(of: $0).name == "A" })
        // Four standard deviations of 20,000 draws.
        #expect((1830...2170).contains(inTen.count))
        #expect((3774...4226).contains(inTwenty.count))
        #expect(inTen.isSubset(of: inTwenty))
        // Another salt has a tenth of the tenth.
        #expect((144...256).contains(inTen.intersection(inOther).count))
    }

    @Test(arguments: [
        "", "salt", "salt A=1:1", "salt A=1:1 A=2:1", "salt A=1:0 B=2:1", "salt A=1 B=2:1",
        "salt A=x:1 B=2:1", "sa/lt A=1:1 B=2:1", "salt A B=2:1", "salt =1:1 B=2:1",
    ])
    func `what is no split is refused`(_ text: String) { #expect(Split(text) == nil) }

    @Test func `its text reads back`() throws {
        let text = "s.1-x control=live:90 new_one=43:10"
        #expect(Split(text)?.text == text)
    }
}
