// SPDX-License-Identifier: Apache-2.0

/// The statements of the SQL folder and the functions of the Functions folder, embedded in the
/// binary.
enum SQL {
    static let closeSession = text(PackageResources.close_session_sql)
    static let closeSpan = text(PackageResources.close_span_sql)
    static let dueSchedules = text(PackageResources.due_schedules_sql)
    static let enterQuarantine = text(PackageResources.enter_quarantine_sql)
    static let heartbeat = text(PackageResources.heartbeat_sql)
    static let holdQuarantine = text(PackageResources.hold_quarantine_sql)
    static let insertDependencies = text(PackageResources.insert_dependencies_sql)
    static let insertJobs = text(PackageResources.insert_jobs_sql)
    static let openSession = text(PackageResources.open_session_sql)
    static let openSpan = text(PackageResources.open_span_sql)
    static let recordLive = text(PackageResources.record_live_sql)
    static let release = text(PackageResources.release_sql)
    static let reportProgress = text(PackageResources.report_progress_sql)
    static let reserveRelease = text(PackageResources.reserve_release_sql)
    static let retireLive = text(PackageResources.retire_live_sql)
    static let takeChores = text(PackageResources.take_chores_sql)
    static let xminHolders = text(PackageResources.xmin_holders_sql)

    /// Functions and views of the schema; every migration puts them all in place anew.
    static let functions = [
        PackageResources.queue_id_sql, PackageResources.wake_sql, PackageResources.enqueue_sql,
        PackageResources.enqueue_many_sql, PackageResources.end_jobs_sql,
        PackageResources.finish_sql, PackageResources.claim_sql, PackageResources.rescue_sql,
        PackageResources.cancel_sql, PackageResources.close_group_sql,
        PackageResources.promote_sql, PackageResources.retry_sql, PackageResources.backlog_sql,
        PackageResources.schedules_sql, PackageResources.announce_sql, PackageResources.clean_sql,
        PackageResources.views_sql,
    ].map(text)

    static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
