// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tables
import Yams

/// Everything that is wrong with a pipeline file, a line each.
struct PipelineError: Error, CustomStringConvertible {
    let description: String
}

/// Collects problems, so that a user sees all of them at once.
final class Problems {
    private let file: String
    private var found: [(line: Int, text: String)] = []

    init(file: String) { self.file = file }

    func add(_ node: Node?, _ text: String) {
        let line = node?.mark?.line ?? 1
        // Each arm of a sweep has all settings that they share.
        guard !found.contains(where: { $0.line == line && $0.text == text }) else { return }
        found.append((line, text))
    }

    func throwIfAny() throws(PipelineError) {
        guard !found.isEmpty else { return }
        let lines = found.sorted { $0.line < $1.line }.map { "\(file):\($0.line): \($0.text)" }
        throw PipelineError(description: lines.joined(separator: "\n"))
    }
}

/// One mapping of a YAML file, read key by key; what was not read at the end is unknown.
///
/// Every reader notes its problem and returns a value to go on with, so that one mistake does
/// not hide the next.
final class YAMLSection {
    let node: Node?
    let name: String
    private let problems: Problems
    private var known: [String] = []

    init(_ node: Node?, name: String, _ problems: Problems) {
        self.node = node
        self.name = name
        self.problems = problems
        if let node, node.mapping == nil {
            problems.add(node, "\(name) must be a mapping of keys to values")
        }
    }

    /// The mapping under a key; nil when the key is absent.
    func section(_ key: String) -> YAMLSection? {
        value(key).map { YAMLSection($0, name: path(key), problems) }
    }

    func required(_ key: String) -> YAMLSection {
        section(key)
            ?? {
                missing(key)
                return YAMLSection(nil, name: path(key), problems)
            }()
    }

    func string(_ key: String) -> String? {
        guard let node = value(key) else { return nil }
        guard let text = node.scalar?.string, !text.isEmpty else {
            wrong(node, key, "a text")
            return nil
        }
        return text
    }

    func requiredString(_ key: String) -> String {
        if let text = string(key) { return text }
        if value(key) == nil { missing(key) }
        return ""
    }

    func int(_ key: String, default fallback: Int, in range: ClosedRange<Int>) -> Int {
        guard let node = value(key) else { return fallback }
        guard let number = node.int, range.contains(number) else {
            wrong(node, key, "a whole number from \(range.lowerBound) to \(range.upperBound)")
            return fallback
        }
        return number
    }

    func double(_ key: String, default fallback: Double, in range: ClosedRange<Double>) -> Double {
        guard let node = value(key) else { return fallback }
        guard let number = node.float, range.contains(number) else {
            wrong(node, key, "a number from \(range.lowerBound) to \(range.upperBound)")
            return fallback
        }
        return number
    }

    /// One number or more.
    func numbers(_ key: String) -> [Double] {
        guard let node = value(key) else {
            missing(key)
            return []
        }
        let numbers = node.sequence.map { $0.compactMap(\.float) } ?? []
        guard !numbers.isEmpty, numbers.count == node.sequence?.count,
            numbers.allSatisfy(\.isFinite)
        else {
            wrong(node, key, "a list of numbers such as [10, 50, 100]")
            return []
        }
        return numbers
    }

    func bool(_ key: String, default fallback: Bool) -> Bool {
        guard let node = value(key) else { return fallback }
        guard let flag = node.bool else {
            wrong(node, key, "true or false")
            return fallback
        }
        return flag
    }

    func choice(_ key: String, of options: [String], default fallback: String?) -> String {
        guard let node = value(key) else {
            if fallback == nil { missing(key) }
            return fallback ?? options[0]
        }
        guard let text = node.scalar?.string, options.contains(text) else {
            let near = EditDistance.nearest(to: node.scalar?.string ?? "", in: options)
            wrong(
                node,
                key,
                "one of \(options.joined(separator: ", "))"
                    + (near.map { "; did you mean \($0)?" } ?? "")
            )
            return fallback ?? options[0]
        }
        return text
    }

    /// `90s`, `30m`, `12h` or `7d`, in seconds.
    func seconds(_ key: String, default fallback: Int?) -> Int {
        guard let node = value(key) else {
            if fallback == nil { missing(key) }
            return fallback ?? 0
        }
        let text = node.scalar?.string ?? ""
        let units = ["s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let unit = units[String(text.suffix(1))], let number = Int(text.dropLast()),
            (1...36_500).contains(number)
        else {
            wrong(node, key, "a duration such as 90s, 30m, 12h or 7d")
            return fallback ?? 0
        }
        return number * unit
    }

    /// A point in time as in a table (`2020-09-08`), in seconds since 1970.
    func date(_ key: String) -> Int? {
        guard let node = value(key) else { return nil }
        guard case .success(let time) = Timestamp.parse(node.scalar?.string ?? "") else {
            wrong(node, key, "a date such as 2020-09-08, or seconds since 1970")
            return nil
        }
        return Int(time / Timestamp.second)
    }

    /// `1%` or `0.01`, as a share.
    func share(_ key: String, default fallback: Double) -> Double {
        guard let node = value(key) else { return fallback }
        let text = (node.scalar?.string ?? "").replacingOccurrences(of: " ", with: "")
        let number = text.hasSuffix("%") ? Double(text.dropLast()).map { $0 / 100 } : Double(text)
        guard let number, (0...1).contains(number) else {
            wrong(node, key, "a share such as 1% or 0.01")
            return fallback
        }
        return number
    }

    /// Texts, one or more.
    func strings(_ key: String) -> [String]? {
        guard let node = value(key) else { return nil }
        let texts = node.sequence.map { $0.compactMap(\.scalar?.string) } ?? []
        guard texts.count == node.sequence?.count else {
            wrong(node, key, "a list of texts")
            return nil
        }
        return texts
    }

    /// Reports keys that nobody asked for.
    func finish() {
        for (key, _) in node?.mapping ?? [:] {
            let text = key.scalar?.string ?? "?"
            guard !known.contains(text) else { continue }
            let near = EditDistance.nearest(to: text, in: known)
            let advice =
                near.map { "did you mean \"\($0)\"?" }
                ?? "known here: \(known.joined(separator: ", "))"
            problems.add(key, "\(name) has no key \"\(text)\"; \(advice)")
        }
    }

    func wrong(_ node: Node, _ key: String, _ wanted: String) {
        let value = node.scalar.map { "\"\($0.string)\"" } ?? "a list or mapping"
        problems.add(node, "\(path(key)) is \(value), but must be \(wanted)")
    }

    /// All keys, for mappings that the user names the keys of.
    var keys: [String] { (node?.mapping ?? [:]).compactMap(\.key.scalar?.string) }

    func missing(_ key: String) { problems.add(node, "\(path(key)) is missing") }

    func value(_ key: String) -> Node? {
        if !known.contains(key) { known.append(key) }
        return node?.mapping?[Node(key)]
    }

    func path(_ key: String) -> String { name == "the pipeline" ? key : "\(name): \(key)" }
}
