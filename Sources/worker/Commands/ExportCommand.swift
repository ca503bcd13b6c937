// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CacheWriter
import Foundation
import Glibc
import Jobs
import Predictor
import SystemPackage
import Tables

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write the lists of a feed's live release, or the item vectors of its model.",
        discussion: """
            vectors: a word2vec text file, for gensim's KeyedVectors.load_word2vec_format; those of \
            prod2vec have length one. csv: id, item and score, as readers get them; `larder import` \
            reads it. resp: commands for another Redis, which then has the release live:

                larder export FEED --format resp | redis-cli -h elsewhere --pipe
            """
    )

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case vectors, csv, resp
    }

    @Argument(help: "The feed.") var feed: String
    @Argument(
        help: "The file to write; - is the output, and the default for lists.",
        completion: .file()
    )
    var file: String = "-"
    @Option(help: "vectors, csv or resp.") var format = Format.vectors
    @OptionGroup var stores: StoreOptions

    func validate() throws {
        if format == .vectors, file == "-" { throw ValidationError("vectors need a FILE") }
    }

    func run() async throws {
        try await stores.withServices { services, _ in
            let count =
                switch format {
                case .vectors: try await vectors(services)
                case .csv, .resp: try await lists(services)
                }
            // What is written to the output is all that belongs there.
            guard file != "-" else { return }
            let what = format == .vectors ? "vectors" : "lists"
            if stores.json { return try Output.json([what: count]) }
            print("\(Output.count(count)) \(what) written to \(file)")
        }
    }

    private func vectors(_ services: Services) async throws -> Int {
        let live = try await services.released(feed)
        guard let model = live.model as? RetrievalModel else {
            throw SettingsError(
                "the model of feed \"\(feed)\", \(live.model.kind), has no vectors"
            )
        }
        try WordVectors.write(model, ids: live.dataset.items, to: file)
        return model.items.count
    }

    // MARK: lists

    /// Lists that are read and written at a time.
    private static let batch = 5000

    private func lists(_ services: Services) async throws -> Int {
        let cache = services.cache(feed)
        guard let live = try await cache.live(),
            let release = try await services.releases.find(feed: feed, number: live)
        else {
            throw SettingsError(
                "feed \"\(feed)\" has no live release\nhint: `larder releases` lists all feeds"
            )
        }
        let ids = try services.ids(of: release)
        let output = try ExportFile(file)
        let hidden = Set(try await services.servingRules.snapshot(feed: feed).hidden.map(\.item))
        let expire = try await cache.expiry(of: live) ?? .seconds(1)
        if format == .csv { try output.write(Array("id,item,score\n".utf8)) }
        var count = 0
        for first in stride(from: 0, to: ids.count, by: Self.batch) {
            let part = (first..<min(first + Self.batch, ids.count)).map {
                ids.ids.bytes[ids.ids.range($0)]
            }
            switch format {
            case .resp:
                let copy = try await cache.copy(of: part, release: live, expire: expire)
                try output.write(copy.commands)
                count += copy.lists
            default:
                let lists = try await cache.lists(part.map { Array($0) }, release: live).lists
                for (id, list) in zip(part, lists) {
                    guard let list else { continue }
                    let shown = list.lazy.filter { !hidden.contains($0.id) }.prefix(release.k)
                    try output.write(Self.rows(id, Array(shown)))
                    count += 1
                }
            }
        }
        if format == .resp {
            // Throws where the release is gone by now: its pointer is not written then.
            try output.write(await cache.copyOfHead(release: live, expire: expire))
        } else if try await cache.expiry(of: live) == nil {
            throw CacheError.damaged("release \(live) was collected while it was read; try again")
        }
        try output.close()
        return count
    }

    private static func rows(_ id: ArraySlice<UInt8>, _ entries: [ListFormat.Entry]) -> [UInt8] {
        let owner = field(id)
        return entries.flatMap { entry in
            owner + [UInt8(ascii: ",")] + field(entry.id.utf8)
                + Array(",\(entry.score.map { "\($0)" } ?? "")\n".utf8)
        }
    }

    /// As RFC 4180 has it; by bytes, for a quote may be part of a character.
    static func field(_ text: some Collection<UInt8>) -> [UInt8] {
        let quote = UInt8(ascii: "\"")
        guard text.contains(where: { [quote, 0x0A, 0x0D, UInt8(ascii: ",")].contains($0) }) else {
            return Array(text)
        }
        return [quote] + text.flatMap { $0 == quote ? [quote, quote] : [$0] } + [quote]
    }
}

/// A file that is there when it is whole, or the output.
private final class ExportFile {
    private let path: String
    private let temporary: String
    private let descriptor: FileDescriptor
    private var buffer: [UInt8] = []

    init(_ path: String) throws {
        self.path = path
        temporary = path + ".part"
        guard path != "-" else {
            descriptor = .standardOutput
            return
        }
        do {
            descriptor = try FileDescriptor.open(
                FilePath(temporary),
                .writeOnly,
                options: [.create, .truncate, .closeOnExec],
                permissions: [.ownerReadWrite, .groupRead, .otherRead]
            )
        } catch { throw SettingsError("cannot write \(path): \(error)") }
    }

    func write(_ bytes: [UInt8]) throws {
        buffer += bytes
        if buffer.count > 1 << 20 { try flush() }
    }

    func close() throws {
        try flush()
        guard path != "-" else { return }
        do {
            // A full disk may show up here only.
            guard fsync(descriptor.rawValue) == 0 else { throw Errno(rawValue: errno) }
            try descriptor.close()
            guard unsafe rename(temporary, path) == 0 else { throw Errno(rawValue: errno) }
        } catch { throw SettingsError("cannot write \(path): \(error)") }
    }

    private func flush() throws {
        do {
            try descriptor.writeAll(buffer)
        } catch {
            throw SettingsError("cannot write \(path == "-" ? "the output" : path): \(error)")
        }
        buffer.removeAll(keepingCapacity: true)
    }
}
