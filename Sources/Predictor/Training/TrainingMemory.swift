// SPDX-License-Identifier: Apache-2.0
private import FoundationEssentials
private import Glibc
private import Tables

/// What the embeddings of a network take, which is nearly all that its training takes.
package enum TrainingMemory {
    /// Bytes that this process can have: the machine's, or less where its group may have less.
    package static var available: Int {
        let machine = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        guard let data = FileManager.default.contents(atPath: "/sys/fs/cgroup/memory.max"),
            let limit = Int(String(decoding: data, as: UTF8.self).prefix { $0.isNumber })
        else { return machine }
        return min(machine, limit)
    }

    /// Of ids and categories: the values, what the optimiser keeps beside them, both once more while
    /// a state is written, and the best values so far.
    static func bytes(
        users: Int,
        items: Int,
        _ schema: Schema,
        _ kind: OptimiserKind,
        _ style: EntityInput.Style
    ) -> Int {
        let columns = schema.columns.filter { $0.entity != .events && $0.type == .category }
        let codes = [users + 1, items + 1] + columns.map { $0.cardinality ?? 0 }
        return codes.reduce(0) { $0 + $1 * style.width($1) } * 4 * (3 + 2 * kind.slots)
    }

    /// Refuses what cannot be had, before it is tried.
    static func check(
        _ bytes: Int,
        of dataset: Dataset,
        key: String = "embedding"
    ) throws(PredictorError) {
        let available = available
        guard bytes > available else { return }
        let gigabytes = { (bytes: Int) in "\((bytes + (1 << 29)) >> 30) GiB" }
        throw .input(
            """
            the embeddings of \(dataset.users.count) users, \(dataset.items.count) items and their \
            features take \(gigabytes(bytes)), and there are \(gigabytes(available))
            """,
            hint: "lower `\(key):`, or leave out rare users and items with `dataset: keep:`"
        )
    }
}

extension TwoTowerSettings {
    /// Bytes of memory that training takes, most of all.
    package func memory(users: Int, items: Int, _ schema: Schema) -> Int {
        TrainingMemory.bytes(users: users, items: items, schema, optimiser.kind, style)
    }
}

extension RatingMLPSettings {
    /// Bytes of memory that training takes, most of all.
    package func memory(users: Int, items: Int, _ schema: Schema) -> Int {
        TrainingMemory.bytes(users: users, items: items, schema, optimiser.kind, style)
    }
}

extension SessionTransformerSettings {
    /// Bytes of memory that training takes, most of all; features are small beside the items.
    package func memory(items: Int) -> Int {
        (items + 3) * width * 4 * (4 + 2 * optimiser.kind.slots)
    }
}
