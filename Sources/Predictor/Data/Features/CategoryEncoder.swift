// SPDX-License-Identifier: Apache-2.0
import Tables

/// Turns the distinct values of a column into codes.
///
/// A source column holds each distinct text once, so lists are cut and looked up once for each
/// text, not for each row.
struct CategoryEncoder {
    /// Values that are known, in the order of their codes.
    let values: StringTable
    let cardinality: Int
    /// For each feature, for each text of its column: its codes, one unless it is a list.
    let codes: [CodeLists]

    struct Input {
        let category: Feature.Category
        let texts: StringTable
        /// How many training events have each text.
        let counts: [Int]
    }

    /// Fits one dictionary to the columns of all features that share it; thresholds are the first
    /// feature's.
    init(_ inputs: [Input]) {
        var parts = Vocabulary()
        var counts: [Int] = []
        var lists: [CodeLists] = []
        for input in inputs {
            var list = CodeLists()
            for text in 0..<input.texts.count {
                for part in input.category.parts(of: input.texts.bytes[input.texts.range(text)]) {
                    // A part of valid UTF-8, cut at a separator, is valid.
                    let code = unsafe part.withUnsafeBytes {
                        parts.insert(unsafe RawSpan(_unsafeBytes: $0)) ?? 0
                    }
                    if Int(code) == counts.count { counts.append(0) }
                    counts[Int(code)] += input.counts[text]
                    list.append(code)
                }
                list.endList()
            }
            lists.append(list)
        }
        let category = inputs[0].category
        let (values, place) = parts.ordered(by: counts) { part in
            let least = category.minCount ?? (category.hashBuckets > 0 ? Int.max : 1)
            return counts[part] >= max(1, least)
        }
        self.values = values
        let first = Code.first(hashBuckets: category.hashBuckets)
        cardinality = Int(first) + values.count
        let codeOfPart = (0..<parts.count).map { part in
            if place[part] >= 0 { return first + place[part] }
            guard category.hashBuckets > 0 else { return Code.unknown }
            let bytes = parts.ids.bytes[parts.ids.range(part)]
            return Code.unknown
                + Int32(StableHash(seed: 0, bytes).value % UInt64(category.hashBuckets))
        }
        codes = lists.map { list in list.mapped { codeOfPart[Int($0)] } }
    }
}

/// Lists of codes, one after the other.
struct CodeLists {
    private(set) var codes: [Int32] = []
    private(set) var offsets: [Int] = [0]

    mutating func append(_ code: Int32) { codes.append(code) }
    mutating func endList() { offsets.append(codes.count) }

    subscript(list: Int) -> ArraySlice<Int32> { codes[offsets[list]..<offsets[list + 1]] }

    func mapped(_ transform: (Int32) -> Int32) -> CodeLists {
        var result = self
        result.codes = codes.map(transform)
        return result
    }
}

extension Feature.Category {
    /// The values that a text stands for; blanks around those of a list are not part of them.
    fileprivate func parts(of text: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        guard let separator, !separator.isEmpty else { return [text] }
        let blank = UInt8(ascii: " ")
        let parts = text.split(separator: Array(separator.utf8)).map { part in
            var part = part.drop { $0 == blank }
            while part.last == blank { part.removeLast() }
            return part
        }.filter { !$0.isEmpty }
        return last.map { parts.suffix($0) } ?? parts
    }
}
