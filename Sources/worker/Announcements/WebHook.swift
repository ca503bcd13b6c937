// SPDX-License-Identifier: Apache-2.0
import Crypto
import Foundation
import Jobs
import Predictor

/// What is sent when a run has ended, as the Standard Webhooks specification has it
/// (standardwebhooks.com, version 1): receivers check it with a library of their language.
struct WebHook {
    private let id: String
    let body: [UInt8]

    /// Receivers take no more than some kilobytes.
    private static let mostErrors = 20
    private static let longestError = 1000

    private struct Message: Encodable {
        struct Failure: Encodable {
            let job: String
            let error: String
        }
        struct Contents: Encodable {
            let run: Int
            let feed: String
            let state: String
            let seconds: Double
            /// What is live now; nil where the run made nothing live.
            let release: Int?
            let lists: Int?
            let forced: String?
            /// Of the model, as a whole.
            let metrics: [String: Estimate]
            let verdict: String?
            /// Jobs that failed, and the first few with what they said.
            let failed: Int
            let errors: [Failure]
        }
        let type: String
        let timestamp: String
        let data: Contents
    }

    init(_ event: RunEvent, _ summary: RunSummary, id: String) throws {
        self.id = id
        let run = summary.run
        let report = summary.check?.report
        let failed = summary.jobs.filter { $0.state == "failed" }
        let end = Date(timeIntervalSince1970: run.started + (run.seconds ?? 0))
        let message = Message(
            type: "run.\(event.rawValue)",
            timestamp: end.formatted(.iso8601),
            data: Message.Contents(
                run: run.id,
                feed: run.feed,
                state: run.state,
                seconds: run.seconds ?? 0,
                release: summary.publish?.release,
                lists: summary.publish?.lists,
                forced: run.forced,
                metrics: report?.model.filter { !$0.key.contains("[") } ?? [:],
                verdict: report.flatMap { report in
                    report.ks.first.map { report.verdicts("ndcg@\($0)") }
                },
                failed: failed.count,
                errors: failed.prefix(Self.mostErrors).map { job in
                    Message.Failure(
                        job: job.name,
                        error: String((job.error ?? "").prefix(Self.longestError))
                    )
                }
            )
        )
        body = Array(try JSON.text(message).utf8)
    }

    /// `time`: seconds since 1970; receivers refuse what was signed long ago.
    func headers(at time: Int, secret: String?) -> [String: String] {
        var headers = [
            "Content-Type": "application/json", "webhook-id": id, "webhook-timestamp": "\(time)",
        ]
        headers["webhook-signature"] = secret.map { signature(at: time, secret: $0) }
        return headers
    }

    private func signature(at time: Int, secret: String) -> String {
        let key = SymmetricKey(data: Self.key(secret))
        var code = HMAC<SHA256>(key: key)
        code.update(data: Data("\(id).\(time).".utf8))
        code.update(data: Data(body))
        return "v1," + Data(code.finalize()).base64EncodedString()
    }

    /// `whsec_` and base64, as the specification writes it; anything else is the secret itself.
    private static func key(_ secret: String) -> Data {
        guard secret.hasPrefix("whsec_"), let key = Data(base64Encoded: String(secret.dropFirst(6)))
        else { return Data(secret.utf8) }
        return key
    }
}
