// SPDX-License-Identifier: Apache-2.0
internal import CHiredis

/// Redis' answer to one command, copied out of hiredis' memory.
package enum Reply: Sendable, Equatable {
    case null
    case status(String)
    case integer(Int)
    case bytes([UInt8])
    case array([Reply])
    case error(String)
    /// The server whose reply it would be did not give one, and why.
    case unanswered(CacheError)

    /// `reply` must come from hiredis' default reader.
    init(copying reply: UnsafePointer<redisReply>) {
        switch unsafe reply.pointee.type {
        case REDIS_REPLY_STRING:
            self = unsafe .bytes(Self.bytes(reply))
        case REDIS_REPLY_STATUS:
            self = unsafe .status(String(decoding: Self.bytes(reply), as: UTF8.self))
        case REDIS_REPLY_ERROR:
            self = unsafe .error(String(decoding: Self.bytes(reply), as: UTF8.self))
        case REDIS_REPLY_INTEGER:
            self = unsafe .integer(Int(reply.pointee.integer))
        case REDIS_REPLY_ARRAY:
            let count = unsafe Int(reply.pointee.elements)
            self = .array(
                (0..<count).map { place in
                    guard let element = unsafe reply.pointee.element[place] else { return .null }
                    return unsafe Reply(copying: element)
                }
            )
        default:
            self = .null
        }
    }

    private static func bytes(_ reply: UnsafePointer<redisReply>) -> [UInt8] {
        guard let start = unsafe reply.pointee.str else { return [] }
        return unsafe Array(UnsafeRawBufferPointer(start: start, count: Int(reply.pointee.len)))
    }

    /// The reply, where it is none of an error.
    func checked() throws(CacheError) -> Reply {
        switch self {
        case .error(let words) where words.hasPrefix("CLUSTERDOWN"): throw .unreachable(words)
        case .error(let words): throw .refused(words)
        case .unanswered(let why): throw why
        default: return self
        }
    }

    package var number: Int? {
        if case .integer(let number) = self { number } else { nil }
    }

    package var text: String? {
        switch self {
        case .bytes(let bytes): String(decoding: bytes, as: UTF8.self)
        case .status(let text): text
        default: nil
        }
    }
}
