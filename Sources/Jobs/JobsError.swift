// SPDX-License-Identifier: Apache-2.0
package import Postgres

/// What the queue cannot do, in words for a person.
package enum JobsError: Error, CustomStringConvertible {
    case postgres(PostgresError, while: String)
    case schemaTooNew(found: Int, known: Int)
    case schemaMissing(found: Int, known: Int)
    case runInProgress(feed: String, run: Int)
    case notFound(String)
    case malformed(String)

    package var description: String {
        switch self {
        case .postgres(let error, let action): "cannot \(action): \(error)"
        case .schemaTooNew(let found, let known):
            """
            the database has schema \(found), this larder knows \(known)
            hint: a newer larder has migrated it; install that version here too
            """
        case .schemaMissing(let found, let known):
            """
            the database has schema \(found), this larder needs \(known)
            hint: run `larder migrate` against this database first
            """
        case .runInProgress(let feed, let run):
            """
            feed "\(feed)" is being made already, by run \(run)
            hint: watch it with `larder runs show \(run)`, or stop it with \
            `larder runs cancel \(run)`
            """
        case .notFound(let what), .malformed(let what): what
        }
    }
}

/// Says what was being done when Postgres refused.
@discardableResult
func during<T>(
    _ action: String,
    _ body: () async throws(PostgresError) -> T
) async throws(JobsError) -> T {
    do { return try await body() } catch { throw .postgres(error, while: action) }
}
