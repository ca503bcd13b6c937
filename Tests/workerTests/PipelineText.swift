// SPDX-License-Identifier: Apache-2.0
@testable import worker

/// A pipeline file's text, read as if it stood in /home/me.
enum PipelineText {
    static func parse(_ text: String) throws -> Pipeline {
        try PipelineParser.parse(text, name: "p.yaml", folder: "/home/me")
    }

    /// A line each; none of a text that can be read.
    static func problems(_ text: String) -> [String] {
        do {
            _ = try parse(text)
            return []
        } catch {
            return "\(error)".split(separator: "\n").map(String.init)
        }
    }
}
