// SPDX-License-Identifier: Apache-2.0
import Executors

/// Talks to a server, to the primary that Sentinels name, or to a cluster, on a queue of its own: one connection
/// to each server, and another when that breaks.
package actor RedisClient {
    let topology: RedisTopology
    let timeout: Duration
    private let executor = SerialQueueExecutor(label: "larder.redis")

    package init(_ address: RedisAddress, timeout: Duration = .seconds(10)) {
        self.timeout = timeout
        topology = RedisTopology(address, timeout: timeout)
    }

    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// Whether a server has said so.
    var isCluster: Bool { topology.isCluster }

    /// Sends commands, in one write to each server, and returns their replies; an error reply is a reply.
    ///
    /// What a cluster sends elsewhere is followed.
    func exchange(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        var written = Written()
        return try exchange(commands, &written)
    }

    /// The same for commands that change something; returns when a replica of each server has it, where there are
    /// replicas, and throws at the first that Redis refuses.
    @discardableResult
    func write(_ commands: RESPBuffer) async throws(CacheError) -> [Reply] {
        var written = Written()
        let replies = try exchange(commands, &written)
        for reply in replies { _ = try reply.checked() }
        try await awaitReplicas(of: written)
        return replies
    }

    /// Sends commands that change nothing; an error reply is a reply, and of what one server of several did not
    /// answer, that is.
    ///
    /// A server closes connections that were silent for long, and one that was restarted has closed
    /// them all: what fails on a connection of before is sent again on a new one.
    func ask(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        let wasConnected = topology.isConnected
        let start = ContinuousClock.now
        // A server that does not answer would not the second time either.
        func isWorthAnother() -> Bool { wasConnected && start.duration(to: .now) < timeout / 2 }
        var written = Written()
        var replies: [Reply]
        do {
            replies = try exchange(commands, &written, isPartial: true)
        } catch {
            guard case .unreachable = error, isWorthAnother() else { throw error }
            return try exchange(commands, &written, isPartial: true)
        }
        let open = replies.indices.filter {
            if case .unanswered = replies[$0] { true } else { false }
        }
        guard !open.isEmpty, isWorthAnother() else { return replies }
        var again = RESPBuffer()
        for place in open { again.append(place, of: commands) }
        // Of what was answered nothing is lost where these are not.
        let late = (try? exchange(again, &written, isPartial: true)) ?? open.map { replies[$0] }
        for (place, reply) in zip(open, late) { replies[place] = reply }
        return replies
    }

    /// The same; throws at the first that Redis refuses.
    func read(_ commands: RESPBuffer) throws(CacheError) -> [Reply] {
        let replies = try ask(commands)
        for reply in replies { _ = try reply.checked() }
        return replies
    }

    /// Sends one command and throws if Redis refuses it.
    @discardableResult
    package func command(_ arguments: String...) throws(CacheError) -> Reply {
        try command(arguments)
    }

    @discardableResult
    package func command(_ arguments: [String]) throws(CacheError) -> Reply {
        var buffer = RESPBuffer()
        buffer.append(arguments)
        return try exchange(buffer).first?.checked() ?? .null
    }

    /// Whether the server answers.
    package func ping() throws(CacheError) {
        var buffer = RESPBuffer()
        buffer.append("PING")
        _ = try read(buffer)
    }

    /// Pipelines commands that may safely be sent twice, and returns the bytes sent.
    ///
    /// Replies are counted without being parsed. What an error came back for is sent again, once, to
    /// learn the words, which are followed or thrown.
    @discardableResult
    func pipeline(_ commands: RESPBuffer) throws(CacheError) -> (bytes: Int, Written) {
        var written = Written()
        let refused = try stream(topology.parts(of: commands), &written)
        guard !refused.isEmpty else { return (commands.bytes.count, written) }
        var again = RESPBuffer()
        // With the one behind it, which may have needed it: the expiry of what was not there.
        let places = Set(refused).union(refused.map { $0 + 1 }).filter { $0 < commands.count }
        for command in places.sorted() { again.append(command, of: commands) }
        // Refused the first time and not the second: then it is done now.
        for reply in try exchange(again, &written) { _ = try reply.checked() }
        return (commands.bytes.count, written)
    }

    /// Waits until a replica of each server that has one has all that was written to it: what only a primary has is
    /// lost when a replica takes its place.
    ///
    /// As long as it takes, while replicas come nearer; others use the connections in between.
    func awaitReplicas(of written: Written) async throws(CacheError) {
        guard !written.isBroken else { throw .unreachable(Self.broke) }
        for (endpoint, generation) in written.connections {
            let node = topology.node(endpoint)
            var wanted: Int?
            var best = -1
            var progress = ContinuousClock.now
            while true {
                let role = try node.role()
                if case .replica = role {
                    topology.doubt(node)
                    throw .unreachable(
                        "\(endpoint) became a replica, and may not have given on what was written"
                    )
                }
                if case .primary(let offset, let replicas) = role {
                    if !replicas.isEmpty { topology.noteReplicas(of: node) }
                    // Others go on writing; what they write is not waited for.
                    if wanted == nil { wanted = offset }
                    if let taken = replicas.max(), taken > best { (best, progress) = (taken, .now) }
                }
                guard node.hasReplica else { break }
                guard node.generation == generation else { throw .unreachable(Self.broke) }
                if let wanted, best >= wanted { break }
                guard !Task.isCancelled else {
                    throw .unreachable("the wait for a replica of \(endpoint) was given up")
                }
                guard progress.duration(to: .now) < timeout / 2 else {
                    topology.doubtReplicas(of: node)
                    throw .unreachable("no replica of \(endpoint) takes what is written")
                }
                // It has the replicas tell how far they are.
                if try node.isReplicated(within: timeout / 20) { break }
                await Task.yield()
            }
        }
    }

    private static let broke = "a connection broke while something was written"
}
