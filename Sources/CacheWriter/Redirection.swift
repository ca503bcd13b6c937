// SPDX-License-Identifier: Apache-2.0

/// What a server of a cluster answers where it is not the one to ask (redis.io, "Redis cluster specification").
enum Redirection {
    /// Another server has the slot.
    case moved(slot: Int, to: RedisEndpoint)
    /// The key is on its way, and may be there already.
    case ask(RedisEndpoint)
    /// Some of the command's keys are on their way.
    case tryAgain

    /// Nil where the error is another.
    init?(_ error: String, from node: RedisEndpoint) {
        let words = error.split(separator: " ")
        switch words.first {
        case "TRYAGAIN": self = .tryAgain
        case "MOVED", "ASK":
            guard words.count == 3, let slot = Int(words[1]), (0..<HashSlot.count).contains(slot),
                let endpoint = RedisEndpoint(words[2], saidBy: node)
            else { return nil }
            self = words[0] == "ASK" ? .ask(endpoint) : .moved(slot: slot, to: endpoint)
        default: return nil
        }
    }
}
