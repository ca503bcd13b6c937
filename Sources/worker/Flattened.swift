// SPDX-License-Identifier: Apache-2.0
import Foundation

/// The leaves of a JSON text by their paths, such as `model twoTower embedding`.
struct Flattened {
    private(set) var values: [String: String] = [:]

    init(_ json: Data) throws {
        add(try JSONDecoder().decode(JSONValue.self, from: json), "")
    }

    private mutating func add(_ value: JSONValue, _ path: String) {
        switch value {
        case .object(let members):
            // `_0` is how Swift writes a value without a name.
            for (key, value) in members { add(value, key == "_0" ? path : "\(path) \(key)") }
        case .list(let members):
            for (place, value) in members.enumerated() { add(value, "\(path) \(place + 1)") }
        case .leaf(let text): values[String(path.dropFirst())] = text
        }
    }
}

private enum JSONValue: Decodable {
    case object([String: JSONValue])
    case list([JSONValue])
    case leaf(String)

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        if let members = try? value.decode([String: JSONValue].self) {
            self = .object(members)
        } else if let members = try? value.decode([JSONValue].self) {
            self = .list(members)
        } else if let flag = try? value.decode(Bool.self) {
            self = .leaf("\(flag)")
        } else if let number = try? value.decode(Int.self) {
            self = .leaf("\(number)")
        } else if let number = try? value.decode(Double.self) {
            self = .leaf("\(number)")
        } else {
            self = .leaf((try? value.decode(String.self)) ?? "")
        }
    }
}
