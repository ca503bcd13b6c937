// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird

/// What a request may ask, and how much of it.
enum Limits {
    /// Bytes of an id, a segment or a category.
    static let id = 512
    static let k = 1...10_000
    /// Ids of one request, or items of a session.
    static let ids = 1...1000
    /// Bytes of a request's body.
    static let body = 1 << 20
}

/// A request that cannot be answered, in words for whoever sent it.
struct RequestError: Error {
    let status: HTTPResponse.Status
    let message: String
    var hint: String?

    init(_ status: HTTPResponse.Status, _ message: String, hint: String? = nil) {
        self.status = status
        self.message = message
        self.hint = hint
    }
}

extension Request {
    typealias Parameter = (name: String, value: String)

    /// What stands behind the question mark, as forms and URL libraries write it: a space may be a plus.
    func parameters() throws(RequestError) -> [Parameter] { try Self.parameters(uri.query ?? "") }

    static func parameters(_ text: String) throws(RequestError) -> [Parameter] {
        var found: [Parameter] = []
        for pair in text.split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.replacing("+", with: " ").removingPercentEncoding }
            guard let name = halves[0], let value = halves.count > 1 ? halves[1] : "" else {
                throw RequestError(.badRequest, "\(pair) is not UTF-8, percent-encoded")
            }
            found.append((name, value))
        }
        return found
    }
}

extension BasicRequestContext {
    /// A part of the path that the route has a name for.
    func text(_ name: String) throws(RequestError) -> String {
        guard let decoded = (parameters.get(name) ?? "").removingPercentEncoding else {
            throw RequestError(.badRequest, "the \(name) is not UTF-8, percent-encoded")
        }
        try LookupOptions.check(decoded, name)
        return decoded
    }
}

/// What is asked about a feed beside the ids.
struct LookupOptions: Decodable {
    var k: Int?
    var segment: String?
    var category: String?
    var arm: String?

    static let names = ["k", "segment", "category", "arm"]

    /// `others`: parameters that there may be beside.
    init(
        _ parameters: [Request.Parameter],
        others: [String] = []
    ) throws(RequestError) {
        for (name, value) in parameters {
            switch name {
            case "k":
                guard let number = Int(value) else {
                    throw RequestError(.badRequest, "k is \"\(value)\", but must be a number")
                }
                k = number
            case "segment": segment = value
            case "category": category = value
            case "arm": arm = value
            case _ where others.contains(name): break
            default:
                throw RequestError(
                    .badRequest,
                    "there is no parameter \"\(name)\"",
                    hint: "there are \((Self.names + others).joined(separator: ", "))"
                )
            }
        }
        try check()
    }

    func check() throws(RequestError) {
        if let k, !Limits.k.contains(k) {
            throw RequestError(
                .badRequest,
                "k is \(k), but must be from \(Limits.k.lowerBound) to \(Limits.k.upperBound)"
            )
        }
        for (name, value) in [("segment", segment), ("category", category), ("arm", arm)] {
            if let value { try Self.check(value, name) }
        }
    }

    static func check(_ text: String, _ name: String) throws(RequestError) {
        if text.isEmpty { throw RequestError(.badRequest, "the \(name) is empty") }
        if text.utf8.count > Limits.id {
            throw RequestError(.badRequest, "the \(name) is longer than \(Limits.id) bytes")
        }
    }

    static func check(_ ids: [String], _ name: String) throws(RequestError) {
        guard Limits.ids.contains(ids.count) else {
            throw RequestError(
                .badRequest,
                "there are \(ids.count) \(name), but must be from \(Limits.ids.lowerBound) to \(Limits.ids.upperBound)"
            )
        }
        for id in ids { try check(id, "id") }
    }

    func question(_ feed: String, _ id: String) -> FeedReader.Question {
        FeedReader.Question(
            feed: feed,
            id: id,
            segment: segment,
            category: category,
            arm: arm,
            k: k
        )
    }
}

/// The body of a POST: ids to look up, or the items of a session.
struct LookupBody: Decodable {
    let ids: [String]?
    let items: [String]?
    let options: LookupOptions

    private enum Key: String, CodingKey {
        case ids
        case items
    }

    init(from decoder: any Decoder) throws {
        let keys = try decoder.container(keyedBy: Key.self)
        ids = try keys.decodeIfPresent([String].self, forKey: .ids)
        items = try keys.decodeIfPresent([String].self, forKey: .items)
        options = try LookupOptions(from: decoder)
    }

    init(_ body: ByteBuffer) throws(RequestError) {
        do {
            self = try JSONDecoder().decode(Self.self, from: Data(body.readableBytesView))
        } catch {
            throw RequestError(
                .badRequest,
                "the body is not what is asked with",
                hint: #"like {"ids": ["259", "260"], "k": 10}, or {"items": ["50", "172"]}"#
            )
        }
        try options.check()
        guard (ids == nil) != (items == nil) else {
            throw RequestError(.badRequest, "the body must have either ids or items")
        }
        if let ids { try LookupOptions.check(ids, "ids") }
        if let items { try LookupOptions.check(items, "items") }
    }
}
