// SPDX-License-Identifier: Apache-2.0
import CacheWriter
import Subprocess
import TestSupport

/// Primaries, each with a replica, for one test.
final class OwnCluster: Sendable {
    let primaries: [OwnRedis]
    let replicas: [OwnRedis]

    /// `count`: of primaries.
    init(_ count: Int = 3, arguments: [String] = []) async throws {
        var servers: [OwnRedis] = []
        for _ in 0..<2 * count {
            servers.append(
                try await OwnRedis(
                    port: freePort(),
                    arguments: [
                        "--cluster-enabled", "yes", "--cluster-port", "\(freePort())",
                        "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0",
                        "--cluster-replica-validity-factor", "0",
                    ] + arguments
                )
            )
        }
        primaries = Array(servers[..<count])
        replicas = Array(servers[count...])
        for (place, server) in primaries.enumerated() {
            let first = 16_384 * place / count
            let last = 16_384 * (place + 1) / count - 1
            try await server.command("CLUSTER", "ADDSLOTSRANGE", "\(first)", "\(last)")
            try await server.command("CLUSTER", "SET-CONFIG-EPOCH", "\(place + 1)")
        }
        for server in servers.dropFirst() {
            let bus = try await servers[0].busPort()
            try await server.command(
                "CLUSTER",
                "MEET",
                "127.0.0.1",
                "\(servers[0].port)",
                "\(bus)"
            )
        }
        try await waitUntil("all know each other") {
            try await self.all { try await $0.clusterInfo("cluster_known_nodes") == "\(2 * count)" }
        }
        for (primary, replica) in zip(primaries, replicas) {
            try await replica.command("CLUSTER", "REPLICATE", primary.clusterID())
        }
        try await waitUntil("the cluster is there") {
            let isWhole = try await self.all {
                try await $0.clusterInfo("cluster_state") == "ok"
            }
            guard isWhole else { return false }
            for primary in self.primaries where try await primary.replicaCount() != 1 {
                return false
            }
            return true
        }
    }

    private func all(_ test: (OwnRedis) async throws -> Bool) async throws -> Bool {
        for server in primaries + replicas where try await !test(server) { return false }
        return true
    }

    /// Names one primary; the others are learned from it.
    var address: RedisAddress { get throws { try RedisAddress(url(of: primaries[..<1])) } }

    func url(of servers: ArraySlice<OwnRedis>) -> String {
        "redis://" + servers.map { "127.0.0.1:\($0.port)" }.joined(separator: ",")
    }

    /// Moves so many slots from one primary to another, keys and all, as an operator does.
    func reshard(_ slots: Int, from: Int, to: Int) async throws {
        // Who has what after the last time may not be known to all yet.
        try await waitUntil("all agree who has which slots") {
            try await Self.cli("check", "127.0.0.1:\(primaries[0].port)").isDone
        }
        let result = try await Self.cli(
            "reshard",
            "127.0.0.1:\(primaries[0].port)",
            "--cluster-from",
            primaries[from].clusterID(),
            "--cluster-to",
            primaries[to].clusterID(),
            "--cluster-slots",
            "\(slots)",
            "--cluster-yes"
        )
        guard result.isDone else { throw ReshardFailed(output: result.output) }
    }

    private static func cli(_ words: String...) async throws -> (isDone: Bool, output: String) {
        let result = try await run(
            .name("redis-cli"),
            arguments: Arguments(["--cluster"] + words),
            output: .string(limit: 10 << 20)
        )
        return (result.terminationStatus.isSuccess, result.standardOutput)
    }

    struct ReshardFailed: Error {
        let output: String
    }
}

extension OwnRedis {
    func clusterID() async throws -> String {
        try await ask("CLUSTER", "MYID").text ?? ""
    }

    func clusterInfo(_ field: String) async throws -> String? {
        try await ask("CLUSTER", "INFO").text?.split(whereSeparator: \.isNewline)
            .first { $0.hasPrefix(field + ":") }.map { String($0.dropFirst(field.count + 1)) }
    }

    func busPort() async throws -> String {
        guard case .array(let words) = try await ask("CONFIG", "GET", "cluster-port"),
            words.count == 2
        else { return "" }
        return words[1].text ?? ""
    }

    /// `master` or `slave`.
    func role() async throws -> String? {
        guard case .array(let role) = try await ask("ROLE") else { return nil }
        return role.first?.text
    }

    /// Whether it tells of a replica where it says who has which slots.
    func namesReplica() async throws -> Bool {
        guard case .array(let ranges) = try await ask("CLUSTER", "SLOTS"),
            case .array(let range) = ranges.first
        else { return false }
        return range.count > 3
    }

    func replicaCount() async throws -> Int {
        guard case .array(let role) = try await ask("ROLE"), role.count == 3,
            case .array(let replicas) = role[2]
        else { return 0 }
        return replicas.count
    }
}
