// SPDX-License-Identifier: Apache-2.0

/// Which servers there are, and which of them has a key: one server, the primary that Sentinels name, or
/// the primaries of a cluster.
///
/// That it is a cluster is learned from the first answer that says so.
final class RedisTopology {
    private let address: RedisAddress
    private let timeout: Duration
    private let setup: RESPBuffer
    private var nodes: [RedisEndpoint: RedisNode] = [:]
    /// The server that is asked where it does not matter which.
    private var home: RedisNode?
    /// The server of each slot, nil of those that none has; nil altogether where it is no cluster.
    private var slots: [RedisNode?]?
    private var isStale = false

    init(_ address: RedisAddress, timeout: Duration) {
        self.address = address
        self.timeout = timeout
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
        if isStale { try learn() }
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

    /// Those that lists are written to.
    func primaries() throws(CacheError) -> [RedisNode] {
        if isStale { try learn() }
        guard let slots else { return [try atHome()] }
        return Array(Dictionary(slots.compactMap(\.self).map { ($0.endpoint, $0) }) { $1 }.values)
    }

    func node(_ endpoint: RedisEndpoint) -> RedisNode {
        if let node = nodes[endpoint] { return node }
        let node = RedisNode(endpoint, setup: setup, timeout: timeout)
        nodes[endpoint] = node
        return node
    }

    /// A server did not answer: who has what is asked anew before the next command.
    func doubt() { isStale = isCluster }

    /// Whether an error means that the server no longer is one to write to, and another will be.
    func hasLost(_ node: RedisNode, _ words: String) -> Bool {
        if address.primary != nil, words.hasPrefix("READONLY") {
            node.disconnect()
            return true
        }
        return isCluster && words.hasPrefix("CLUSTERDOWN")
    }

    /// A server said that another has these slots.
    func move(_ moves: [(slot: Int, to: RedisEndpoint)]) throws(CacheError) {
        try learn()
        // The one that was asked may know less.
        for (slot, endpoint) in moves { slots?[slot] = node(endpoint) }
    }

    /// Asks who has which slots.
    private func learn() throws(CacheError) {
        let asked = try atHome()
        switch try asked.ask("CLUSTER", "SLOTS") {
        case .array(let ranges): slots = owners(ranges, saidBy: asked.endpoint)
        // Another server has its address now.
        case .error(let words) where words.hasPrefix("ERR"): slots = nil
        case .error(let words): throw .refused(words)
        default: throw .unreachable("\(asked.endpoint): the answer to CLUSTER SLOTS is none")
        }
        isStale = false
    }

    /// Ranges are `[first, last, [host, port, …], …]`; the primary stands before its replicas.
    private func owners(_ ranges: [Reply], saidBy other: RedisEndpoint) -> [RedisNode?] {
        var slots = [RedisNode?](repeating: nil, count: HashSlot.count)
        for case .array(let range) in ranges where range.count > 2 {
            guard let first = range[0].number, let last = range[1].number,
                0 <= first, first <= last, last < HashSlot.count,
                case .array(let primary) = range[2], primary.count > 1, let port = primary[1].number
            else { continue }
            let endpoint = RedisEndpoint(host: primary[0].text ?? "", port: port, saidBy: other)
            let owner = node(endpoint)
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

    /// The one that answered last, or another.
    private func anyNode() throws(CacheError) -> RedisNode {
        var failure: CacheError?
        let known = nodes.keys.filter { !address.endpoints.contains($0) }
        for endpoint in (home.map { [$0.endpoint] } ?? []) + address.endpoints + known {
            let node = node(endpoint)
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
            do {
                return try confirmed(node(try endpoint(of: name, askedOf: sentinel)))
            } catch {
                failure = failure ?? error
            }
        }
        throw failure ?? .unreachable("no Sentinel is known")
    }

    private func endpoint(
        of name: String,
        askedOf sentinel: RedisEndpoint
    ) throws(CacheError) -> RedisEndpoint {
        // Without the name and the password, which are the primary's.
        let asked = RedisNode(sentinel, setup: RESPBuffer(), timeout: timeout)
        let reply = try asked.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name)
        if case .error(let words) = reply { throw .refused(words) }
        guard case .array(let words) = reply, words.count == 2, let host = words[0].text,
            let port = words[1].text.flatMap({ Int($0) })
        else { throw .unreachable("the Sentinel at \(sentinel) knows no primary \"\(name)\"") }
        return .tcp(host: host, port: port)
    }

    /// Sentinels may not know yet that it is the primary no longer.
    private func confirmed(_ node: RedisNode) throws(CacheError) -> RedisNode {
        let reply = try node.ask("ROLE")
        if case .error(let words) = reply { throw .refused(words) }
        guard case .array(let role) = reply, role.first?.text == "master" else {
            node.disconnect()
            throw .unreachable("\(node.endpoint) is a replica, and Sentinel names no other yet")
        }
        return node
    }
}
