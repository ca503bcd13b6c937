// SPDX-License-Identifier: Apache-2.0
import Foundation
import Glibc

/// Where the private servers keep their files, and the ordinary user they run as.
///
/// Postgres refuses to run as root, so for root the servers belong to the system's `postgres` (or
/// `nobody`) account. Where that account cannot reach the home folder, or where a socket's path
/// would not fit the 107 bytes the kernel allows, the files stand under /var/tmp instead.
struct ServerPaths {
    struct Account {
        let name: String
        let user: uid_t
        let group: gid_t
    }

    let base: String
    /// Nil when we are an ordinary user ourselves.
    let account: Account?

    var postgres: String { base + "/postgres" }
    var redis: String { base + "/redis" }
    var sockets: String { base + "/run" }
    var redisSocket: String { sockets + "/redis.sock" }
    var postgresLog: String { base + "/postgres.log" }
    var redisLog: String { base + "/redis.log" }

    /// `home` must exist and be absolute.
    init(home: String) throws {
        account = geteuid() == 0 ? try Self.ordinaryAccount() : nil
        let inside = home + "/servers"
        let fits = (inside + "/run/.s.PGSQL.5432.lock").utf8.count < 100
        if fits, account.map({ Self.canReach(home, $0) }) ?? true {
            base = inside
        } else {
            base = "/var/tmp/larder-" + (try Self.identity(of: home))
        }
    }

    /// Makes the folders, owned by the servers' user and closed to others.
    func prepare() throws {
        for folder in [base, redis, sockets] {
            do {
                try FileManager.default.createDirectory(
                    atPath: folder,
                    withIntermediateDirectories: true,
                    attributes: [.posixPermissions: 0o700]
                )
            } catch {
                throw SettingsError(
                    """
                    cannot make \(folder) for the private servers: it belongs to another user
                    hint: choose another folder with --home or LARDER_HOME
                    """
                )
            }
            if let account { unsafe chown(folder, account.user, account.group) }
        }
    }

    private static func ordinaryAccount() throws -> Account {
        for name in ["postgres", "nobody"] {
            if let entry = unsafe getpwnam(name) {
                return unsafe Account(
                    name: name,
                    user: entry.pointee.pw_uid,
                    group: entry.pointee.pw_gid
                )
            }
        }
        throw SettingsError("Postgres refuses to run as root, and there is no other account here")
    }

    /// Whether every folder on the way can be passed by the account.
    private static func canReach(_ path: String, _ account: Account) -> Bool {
        var folder = URL(filePath: path).resolvingSymlinksInPath().path
        while true {
            guard let about = try? FileManager.default.attributesOfItem(atPath: folder),
                let mode = about[.posixPermissions] as? Int
            else { return false }
            let bit =
                about[.ownerAccountID] as? Int == Int(account.user)
                ? 0o100 : about[.groupOwnerAccountID] as? Int == Int(account.group) ? 0o010 : 0o001
            if mode & bit == 0 { return false }
            if folder == "/" { return true }
            folder = URL(filePath: folder).deletingLastPathComponent().path
            if folder.isEmpty { return true }
        }
    }

    /// A name that lives and dies with the home folder: a new home at an old path must not find the
    /// old one's data.
    private static func identity(of home: String) throws -> String {
        let file = home + "/servers.id"
        if let known = try? String(contentsOfFile: file, encoding: .utf8) { return known }
        let new = String(UUID().uuidString.lowercased().prefix(13))
        do {
            try new.write(toFile: file, atomically: true, encoding: .utf8)
        } catch {
            throw SettingsError("cannot write \(file): \(error.localizedDescription)")
        }
        return new
    }
}
