// SPDX-License-Identifier: Apache-2.0

/// The statements of the SQL folder, embedded in the binary.
enum SQL {
    static let cascade = text(PackageResources.cascade_sql)
    static let claim = text(PackageResources.claim_sql)
    static let closeGroups = text(PackageResources.close_groups_sql)
    static let closeSession = text(PackageResources.close_session_sql)
    static let finish = text(PackageResources.finish_sql)
    static let heartbeat = text(PackageResources.heartbeat_sql)
    static let insertDependencies = text(PackageResources.insert_dependencies_sql)
    static let insertJobs = text(PackageResources.insert_jobs_sql)
    static let openSession = text(PackageResources.open_session_sql)
    static let promote = text(PackageResources.promote_sql)
    static let recordLive = text(PackageResources.record_live_sql)
    static let release = text(PackageResources.release_sql)
    static let reportProgress = text(PackageResources.report_progress_sql)
    static let rescue = text(PackageResources.rescue_sql)
    static let reserveRelease = text(PackageResources.reserve_release_sql)
    static let retireLive = text(PackageResources.retire_live_sql)

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
