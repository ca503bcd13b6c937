// SPDX-License-Identifier: Apache-2.0

extension Split {
    /// The part of each event, given the order that `Dataset` describes.
    func parts(
        times: [Int64],
        sequenceOffsets: [Int64],
        userSequences: [Int64]
    ) -> [UInt8] {
        var parts = [UInt8](repeating: Part.train.rawValue, count: times.count)
        switch self {
        case .leaveLastOne:
            for user in 0..<userSequences.count - 1 {
                let first = Int(sequenceOffsets[Int(userSequences[user])])
                let end = Int(sequenceOffsets[Int(userSequences[user + 1])])
                if end - first >= 2 { parts[end - 1] = Part.test.rawValue }
            }
        case .time(let test):
            let boundary = (times.max() ?? 0) - Int64(test)
            for event in times.indices where times[event] > boundary {
                parts[event] = Part.test.rawValue
            }
        case .sequences(let validation, let test, let seed):
            let count = sequenceOffsets.count - 1
            var generator = SeededGenerator(seed: seed)
            let shuffled = (0..<count).shuffled(using: &generator)
            let trainEnd = Int(Double(count) * (1 - validation - test))
            let validationEnd = Int(Double(count) * (1 - test))
            for (place, sequence) in shuffled.enumerated() where place >= trainEnd {
                let part: Part = place < validationEnd ? .validation : .test
                for event in Int(sequenceOffsets[sequence])..<Int(sequenceOffsets[sequence + 1]) {
                    parts[event] = part.rawValue
                }
            }
        }
        return parts
    }
}
