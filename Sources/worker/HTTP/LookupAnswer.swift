// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Foundation
import Hummingbird

/// Writes answers as JSON, without an encoder's detour: this is done for every lookup.
struct AnswerWriter {
    private(set) var bytes: [UInt8] = []

    /// One answer: `{"feed":…,"id":…,"release":…,"arm":…,"source":…,"items":[…]}`, with `scores` where
    /// the feed has them, and `event` and `time` where it is a whole response.
    mutating func write(
        _ answer: Lookup,
        feed: String,
        id: String?,
        source: String? = nil,
        stamp: Stamp? = nil
    ) {
        write("{\"feed\":", quoting: feed)
        if let id { write(",\"id\":", quoting: id) }
        write(",\"release\":\(answer.release)")
        if let arm = answer.arm { write(",\"arm\":", quoting: arm) }
        write(",\"source\":", quoting: source ?? answer.source.rawValue)
        write(",\"items\":")
        list(answer.entries) { JSONText.quote($0.id) }
        if answer.hasScores {
            write(",\"scores\":")
            list(answer.entries) { Array(JSONText.number(Float($0.score ?? 0)).utf8) }
        }
        if let stamp { write(stamp) }
        write("}")
    }

    /// In the place of an answer, why there is none.
    mutating func write(_ error: RequestError, feed: String, id: String) {
        write("{\"feed\":", quoting: feed)
        write(",\"id\":", quoting: id)
        write(",\"error\":", quoting: error.message)
        write("}")
    }

    /// Which answer this was and when, for whoever joins clicks with what was shown.
    struct Stamp {
        let event = UUID().uuidString.lowercased()
        /// Milliseconds since 1970.
        let time = Int(Date.now.timeIntervalSince1970 * 1000)
    }

    mutating func write(_ stamp: Stamp) {
        write(",\"event\":\"\(stamp.event)\",\"time\":\(stamp.time)")
    }

    mutating func write(_ text: String) { bytes.append(contentsOf: text.utf8) }

    private mutating func write(_ text: String, quoting value: String) {
        write(text)
        bytes.append(contentsOf: JSONText.quote(value))
    }

    private mutating func list<T>(_ values: [T], _ text: (T) -> [UInt8]) {
        write("[")
        for (place, value) in values.enumerated() {
            if place > 0 { write(",") }
            bytes.append(contentsOf: text(value))
        }
        write("]")
    }
}

extension Response {
    static func json(
        _ bytes: [UInt8],
        status: HTTPResponse.Status = .ok,
        headers: HTTPFields = [:]
    ) -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: status,
            headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }

    static func text(_ text: String, type: String = "text/plain; charset=utf-8") -> Response {
        Response(
            status: .ok,
            headers: [.contentType: type],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    init(_ error: RequestError) {
        let hint = error.hint.map {
            ",\"hint\":" + String(decoding: JSONText.quote($0), as: UTF8.self)
        }
        let message = String(decoding: JSONText.quote(error.message), as: UTF8.self)
        self = .json(Array("{\"error\":\(message)\(hint ?? "")}".utf8), status: error.status)
        if error.status == .serviceUnavailable { headers[.retryAfter] = "1" }
        if error.status == .unauthorized { headers[.wwwAuthenticate] = "Bearer" }
    }
}
