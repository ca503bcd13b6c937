// SPDX-License-Identifier: Apache-2.0
import Tables

/// The users, items or events of a dataset, with the columns that features are made of.
struct FeatureRows {
    struct Texts {
        /// An index into the values, or -1.
        let codes: Spool<Int32>
        let values: StringTable
    }

    let count: Int
    /// How many training events a row stands for.
    let weight: (Int) -> Int
    var texts: [String: Texts] = [:]
    /// NaN is missing.
    var numbers: [String: Spool<Float>] = [:]
}

/// A column of a dataset, worked out row by row while it is written.
struct FeatureColumn {
    enum Values {
        case codes((Int) -> Int32)
        /// Which of the lists is a row's; -1 is missing.
        case lists(CodeLists, (Int) -> Int)
        case numbers((Int) -> Float)
    }

    let column: Schema.Column
    let values: Values

    /// The tensors of a dataset's file that hold it.
    func tensors(rows: Int) -> [StreamedTensor] {
        let name = Dataset.tensorName(of: column.name)
        switch values {
        case .codes(let code): return [StreamedTensor(name, count: rows, code)]
        case .numbers(let number): return [StreamedTensor(name, count: rows, number)]
        case .lists(let lists, let list):
            let missing: ArraySlice<Int32> = [Code.missing]
            func codes(_ row: Int) -> ArraySlice<Int32> {
                let place = list(row)
                return place < 0 ? missing : lists[place]
            }
            let total = (0..<rows).reduce(0) { $0 + codes($1).count }
            return [
                StreamedTensor(name + "_values", Int32.self, count: total) {
                    sink throws(PredictorError) in
                    for row in 0..<rows { try sink.append(contentsOf: codes(row)) }
                },
                StreamedTensor(name + "_offsets", Int64.self, count: rows + 1) {
                    sink throws(PredictorError) in
                    var end: Int64 = 0
                    try sink.append(end)
                    for row in 0..<rows {
                        end += Int64(codes(row).count)
                        try sink.append(end)
                    }
                },
            ]
        }
    }
}
