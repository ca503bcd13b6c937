// SPDX-License-Identifier: Apache-2.0

/// Which servers there are, and which of them has a key: one server, the primary that Sentinels name, or
/// the primaries of a cluster.
///
/// Whether it is a cluster is asked at first; who may not ask is told by the first answer that sends him elsewhere.
final class RedisTopology {
    private let address: RedisAddress
    private let timeout: Duration
    private let setup: RESPBuffer
    private var nodes: [RedisEndpoint: RedisNode] = [:]
    /// The server that is asked where it does not matter which.
    private var home: RedisNode?
    /// The server of each slot, nil of those that none has; nil altogether where it is no cluster.
    private var slots: [RedisNode?]?
    /// Whether that is to be asked before the next command.
    private var isStale: Bool
    /// Who did not answer the last time.
    private var failing: RedisEndpoint?

    init(_ address: RedisAddress, timeout: Duration) {
        self.address = address
        self.timeout = timeout
        // What Sentinels name is no cluster, and what has a socket here is hardly one.
        isStale = address.primary == nil && address.socket == nil
        var setup = RESPBuffer()
        if let password = address.password {
            setup.append(["AUTH"] + [address.user, password].compactMap(\.self))
        }
        if address.database != 0 { setup.append("SELECT", String(address.database)) }
        self.setup = setup
    }

    var isCluster: Bool { slots != nil }
    var isConnected: Bool { nodes.values.contains(where: \.isConnected) }

    /// Commands for one server.
    struct Part {
        let node: RedisNode
        var commands = RESPBuffer()
        /// Where they stand among all, and nil for one that is not of them; nil altogether for the same places.
        var places: [Int?]?

        func place(_ own: Int) -> Int? { places.map { $0[own] } ?? own }

        /// The same, where all are at these places among others.
        func placed(at outer: [Int]) -> Part {
            let own = (0..<commands.count).map { place($0).map { outer[$0] } }
            return Part(node: node, commands: commands, places: own)
        }

        /// Adds a command whose key is on its way to this server.
        mutating func appendAsking(_ place: Int, of commands: RESPBuffer) {
            self.commands.append("ASKING")
            self.commands.append(place, of: commands)
            places?.append(contentsOf: [nil, place])
        }
    }

    /// Divides commands among the servers that have their keys.
    func parts(of commands: RESPBuffer) throws(CacheError) -> [Part] {
        if isStale { try learn(isCluster: isCluster) }
        guard let slots else { return [Part(node: try atHome(), commands: commands)] }
        var parts: [Part] = []
        var known: [ObjectIdentifier: Int] = [:]
        for command in 0..<commands.count {
            let owner = HashSlot.of(command, in: commands).flatMap { slots[$0] }
            let node = if let owner { owner } else { try atHome() }
            let part = known[ObjectIdentifier(node)] ?? parts.count
            if part == parts.count {
                known[ObjectIdentifier(node)] = part
                parts.append(Part(node: node, places: []))
            }
            parts[part].commands.append(command, of: commands)
            parts[part].places?.append(command)
        }
        return parts
    }

    func node(_ endpoint: RedisEndpoint) -> RedisNode {
        if let node = nodes[endpoint] { return node }
        let node = RedisNode(endpoint, setup: setup, timeout: timeout)
        nodes[endpoint] = node
        return node
    }

    /// A server did not answer: who has what is asked anew before the next command, and others first.
    func doubt(_ node: RedisNode) {
        node.disconnect()
        failing = node.endpoint
        if home === node { home = nil }
        isStale = isStale || isCluster
    }

    /// What is known of a server's replicas may not be so any more.
    func doubtReplicas(of node: RedisNode) {
        node.hasReplica = false
        if isCluster { isStale = true } else { node.disconnect() }
    }

    /// A server has replicas; a cluster names those only to which something was written.
    func noteReplicas(of node: RedisNode) {
        if node.hasReplica { return }
        node.hasReplica = true
        isStale = isStale || isCluster
    }

    /// Whether an error means that the server no longer is one to write to, and another will be.
    func hasLost(_ node: RedisNode, _ words: String) -> Bool {
        // A name may stand for another server by now, and an address beside it is another.
        if words.hasPrefix("READONLY") {
            doubt(node)
            return address.primary != nil
        }
        guard isCluster, words.hasPrefix("CLUSTERDOWN") else { return false }
        doubt(node)
        return true
    }

    /// A server said that another has these slots.
    func move(_ moves: [(slot: Int, to: RedisEndpoint)]) throws(CacheError) {
        try learn(isCluster: true)
        // The one that was asked may know less.
        for (slot, endpoint) in moves { slots?[slot] = node(endpoint) }
    }

    /// Asks who has which slots, until one of the servers says it.
    ///
    /// `isCluster`: whether it is known to be one.
    private func learn(isCluster: Bool) throws(CacheError) {
        var failure: CacheError?
        for asked in candidates() {
            do {
                let reply = try asked.askAgain("CLUSTER", "SLOTS")
                switch reply {
                case .array(let ranges) where !ranges.isEmpty: learn(ranges, of: asked)
                case .error(let words) where words.contains("cluster support disabled"): slots = nil
                // A cluster that is not there yet.
                case .array where !isCluster: return
                // Who may not ask learns of a cluster by what it answers.
                case .error(let words) where !isCluster: return isStale = words.hasPrefix("LOADING")
                default:
                    _ = try reply.checked()
                    throw CacheError.unreachable("\(asked.endpoint) knows of no slots")
                }
                isStale = false
                return
            } catch let error as CacheError {
                asked.disconnect()
                failing = asked.endpoint
                failure = failure ?? error
            } catch {}
        }
        throw failure ?? .unreachable("no server is known")
    }

    private func learn(_ ranges: [Reply], of asked: RedisNode) {
        slots = owners(ranges, saidBy: asked.endpoint)
        let told = Set(endpoints(ranges, saidBy: asked.endpoint)).union(address.endpoints)
        nodes = nodes.filter { told.contains($0.key) }
        for endpoint in told { _ = node(endpoint) }
    }

    /// Of primaries and replicas.
    private func endpoints(_ ranges: [Reply], saidBy other: RedisEndpoint) -> [RedisEndpoint] {
        ranges.flatMap { range -> [RedisEndpoint] in
            guard case .array(let words) = range else { return [] }
            return words.dropFirst(2).compactMap { Self.endpoint($0, saidBy: other) }
        }
    }

    private static func endpoint(_ reply: Reply, saidBy other: RedisEndpoint) -> RedisEndpoint? {
        guard case .array(let words) = reply, words.count > 1, let port = words[1].number else {
            return nil
        }
        return RedisEndpoint(host: words[0].text ?? "", port: port, saidBy: other)
    }

    /// Ranges are `[first, last, [host, port, …], …]`; the primary stands before its replicas.
    private func owners(_ ranges: [Reply], saidBy other: RedisEndpoint) -> [RedisNode?] {
        var slots = [RedisNode?](repeating: nil, count: HashSlot.count)
        for case .array(let range) in ranges where range.count > 2 {
            guard let first = range[0].number, let last = range[1].number,
                0 <= first, first <= last, last < HashSlot.count,
                let endpoint = Self.endpoint(range[2], saidBy: other)
            else { continue }
            let owner = node(endpoint)
            owner.hasReplica = range.count > 3
            for slot in first...last { slots[slot] = owner }
        }
        return slots
    }

    // MARK: a server to ask

    private func atHome() throws(CacheError) -> RedisNode {
        if let home, home.isConnected { return home }
        let node = if let name = address.primary { try primary(name) } else { try anyNode() }
        home = node
        return node
    }

    /// Whom to ask, the best first: who is connected, who is named in the address, who was told of.
    private func candidates() -> [RedisNode] {
        let connected = nodes.values.filter(\.isConnected).map(\.endpoint)
        let all = (home.map { [$0.endpoint] } ?? []) + connected + address.endpoints + nodes.keys
        var seen: Set<RedisEndpoint> = []
        let once = all.filter { seen.insert($0).inserted }
        return (once.filter { $0 != failing } + once.filter { $0 == failing }).map { node($0) }
    }

    private func anyNode() throws(CacheError) -> RedisNode {
        var failure: CacheError?
        for node in candidates() {
            do {
                try node.connect()
                return node
            } catch {
                guard case .unreachable = error else { throw error }
                failure = failure ?? error
            }
        }
        throw failure ?? .unreachable("no server is known")
    }

    /// The primary as the first Sentinel that answers knows it (redis.io, "Guidelines for Sentinel clients").
    private func primary(_ name: String) throws(CacheError) -> RedisNode {
        var failure: CacheError?
        for sentinel in address.endpoints {
            let reply: Reply
            do {
                // Without the name and the password, which are the primary's.
                reply = try RedisNode(sentinel, setup: RESPBuffer(), timeout: timeout)
                    .ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
            } catch {
                failure = failure ?? error
                continue
            }
            if case .error(let words) = reply {
                throw .unreachable("the Sentinel at \(sentinel) says: \(words)")
            }
            guard case .array(let words) = reply, words.count == 2, let host = words[0].text,
                let port = words[1].text.flatMap({ Int($0) })
            else {
                throw .unreachable("the Sentinel at \(sentinel) knows no primary \"\(name)\"")
            }
            return try confirmed(node(.tcp(host: host, port: port)))
        }
        throw failure ?? .unreachable("no Sentinel is known")
    }

    /// Sentinels may not know yet that it is the primary no longer.
    private func confirmed(_ node: RedisNode) throws(CacheError) -> RedisNode {
        switch try node.role() {
        case .replica:
            node.disconnect()
            throw .unreachable("\(node.endpoint) is a replica, and Sentinel names no other yet")
        case .primary(_, let replicas): node.hasReplica = !replicas.isEmpty
        case .unknown: break
        }
        return node
    }
}
