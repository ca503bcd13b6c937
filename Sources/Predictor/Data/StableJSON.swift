// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The bytes of what a file holds as JSON, each key on a line of its own where `lines`.
///
/// Equal values make equal bytes in every process: keys are sorted. An artifact is known by the
/// hash of its bytes, and a model trained again is compared by them. For finite numbers and texts
/// only; anything else is a mistake in the program.
func stableJSON(_ value: some Encodable, lines: Bool = false) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting =
        lines
        ? [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        : [.sortedKeys, .withoutEscapingSlashes]
    do {
        return [UInt8](try encoder.encode(value))
    } catch {
        preconditionFailure("\(type(of: value)) cannot be written as JSON: \(error)")
    }
}
