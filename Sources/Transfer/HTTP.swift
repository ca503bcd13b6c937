// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// Requests that are tried again while that may help.
package enum HTTP {
    package typealias Check = @Sendable () throws -> Void

    static let attempts = 5

    /// Sends a request; `check` is called while nothing comes, and may throw to stop.
    package static func perform(
        _ request: HTTPRequest,
        check: @escaping Check = {}
    ) throws -> HTTPResponse {
        try retrying(check) {
            let response = try Exchange(request, check: check).response()
            if isBusy(response.status) { throw response.error(request.name) }
            return response
        }
    }

    /// Sends a request once, and returns whatever is answered; for callers that try again in their own
    /// time.
    package static func once(
        _ request: HTTPRequest,
        check: @escaping Check = {}
    ) throws -> HTTPResponse {
        try Exchange(request, check: check).response()
    }

    /// What messages may show of an address that others must not know whole.
    package static func host(of url: String) -> String {
        let rest = url.split(separator: "://", maxSplits: 1).last ?? ""
        let authority = rest.prefix { !"/?#".contains($0) }
        return String(authority.split(separator: "@").last ?? "")
    }

    /// Calls `body` until it does not say that something is unreachable, or has said so five times.
    static func retrying<T>(_ check: Check, _ body: () throws -> T) throws -> T {
        var attempt = 1
        while true {
            do {
                return try body()
            } catch let error as TransferError {
                guard case .unreachable = error, attempt < attempts else { throw error }
            }
            try pause(after: attempt, check)
            attempt += 1
        }
    }

    /// What a later try may change; 501 is for ever.
    static func isBusy(_ status: Int) -> Bool {
        [408, 429, 500, 502, 503, 504].contains(status)
    }

    /// 0.2 s and twice as long each time, of which half is left to chance.
    static func pause(after attempt: Int, _ check: () throws -> Void) throws {
        let longest = 0.2 * Double(1 << min(attempt - 1, 6))
        usleep(UInt32(longest * Double.random(in: 0.5...1) * 1e6))
        try check()
    }
}

extension HTTPResponse {
    /// What an answer that is no success means; `text`: the reason that its body gives.
    package func error(_ name: String, saying text: String? = nil) -> TransferError {
        let text = (text ?? S3.field("Message", in: body)).map { ": \($0)" } ?? ""
        let reason = "the server answers \(status)" + (HTTPResponse.meaning(status)) + text
        if HTTP.isBusy(status) { return .unreachable(name, reason) }
        return .refused(name, reason)
    }

    package static func meaning(_ status: Int) -> String {
        switch status {
        case 401: " (unauthorised)"
        case 403: " (forbidden)"
        case 404: " (not found)"
        case 416: " (beyond the end)"
        case 503: " (busy)"
        default: ""
        }
    }
}
