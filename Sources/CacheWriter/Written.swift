// SPDX-License-Identifier: Apache-2.0

/// Through which connections something was written: whether replicas have it can be asked on these only.
struct Written: Sendable {
    private(set) var connections: [RedisEndpoint: Int] = [:]
    /// Whether a connection broke in the middle.
    private(set) var isBroken = false

    mutating func note(_ endpoint: RedisEndpoint, _ generation: Int) {
        if let known = connections.updateValue(generation, forKey: endpoint), known != generation {
            isBroken = true
        }
    }

    mutating func note(_ other: Written) {
        if other.isBroken { isBroken = true }
        for (endpoint, generation) in other.connections { note(endpoint, generation) }
    }
}
