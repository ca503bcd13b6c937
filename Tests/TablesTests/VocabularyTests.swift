// SPDX-License-Identifier: Apache-2.0
import Testing

@testable import Tables

struct VocabularyTests {
    @Test func `ids get indices in order and are found again`() throws {
        var vocabulary = Vocabulary()
        let ids = (0..<5000).map { "id \($0 * 7)" } + ["émoji 🍲", "a\nb", " "]
        for (index, id) in ids.enumerated() {
            #expect(insert(Array(id.utf8), &vocabulary) == Int32(index))
            #expect(insert(Array(id.utf8), &vocabulary) == Int32(index))
        }
        #expect(vocabulary.count == ids.count)
        #expect(ids.indices.allSatisfy { vocabulary[$0] == ids[$0] })
        #expect(vocabulary.index(of: "émoji 🍲") == 5000)
        #expect(vocabulary.index(of: "absent") == nil)
        #expect(insert([0xff, 0xfe], &vocabulary) == nil)
        #expect(vocabulary.count == ids.count)
    }

    /// Ids of every length about those where the hash changes its way.
    @Test func `ids that share a beginning or an end are not confused`() {
        var vocabulary = Vocabulary()
        var ids: [[UInt8]] = []
        for length in 0...40 {
            for place in 0..<max(1, length) {
                var id = [UInt8](repeating: 0, count: length)
                if length > 0 { id[place] = 1 }
                ids.append(id)
                if length > 0 {
                    id[place] = 2
                    ids.append(id)
                }
            }
        }
        for (index, id) in ids.enumerated() { #expect(insert(id, &vocabulary) == Int32(index)) }
        for (index, id) in ids.enumerated() { #expect(insert(id, &vocabulary) == Int32(index)) }
    }

    private func insert(_ id: [UInt8], _ vocabulary: inout Vocabulary) -> Int32? {
        unsafe vocabulary.insert(id.span.bytes)
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
