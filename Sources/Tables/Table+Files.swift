// SPDX-License-Identifier: Apache-2.0
private import Glibc
private import Transfer

package enum TableFormat: Sendable {
    case csv
    case tsv
    case jsonl
}

extension Table {
    /// Files of one format, plain, gzip or Zstandard: one path, or a pattern (`part-*.csv.gz`), of
    /// which the matches are read in the order of their names.
    package static func files(
        _ pattern: String,
        _ format: TableFormat,
        sha256: String? = nil
    ) throws(TableError) -> Table {
        let layout: Format =
            switch format {
            case .csv: .delimited(.csv)
            case .tsv: .delimited(.tsv)
            case .jsonl: .jsonLines
            }
        if RemoteAddress.isOne(pattern) {
            return Table(name: RemoteAddress.name(of: pattern), layout) { _, check in
                try RemoteAddress.all(pattern, sha256: sha256, check: check).map { address in
                    Part(name: address.request.name) { check in
                        try Compression.open(RemoteStream(address, check: check))
                    }
                }
            }
        }
        let paths = try paths(matching: pattern)
        return Table(name: pattern, layout) { _, _ in
            paths.map { path in Part(name: path) { _ in try FileStream.open(path) } }
        }
    }

    package static func paths(matching pattern: String) throws(TableError) -> [String] {
        // A file of exactly this name is meant, whatever characters the name has.
        guard pattern.contains(where: { "*?[".contains($0) }),
            unsafe access(pattern, F_OK) != 0
        else { return [pattern] }
        var found = unsafe glob_t()
        defer { unsafe globfree(&found) }
        guard unsafe glob(pattern, GLOB_ERR, nil, &found) == 0 else {
            throw .unreadable(pattern, "no file matches")
        }
        return unsafe (0..<Int(found.gl_pathc)).compactMap { place in
            unsafe found.gl_pathv[place].map { unsafe String(cString: $0) }
        }
    }
}

/// Whether a name matches a pattern as in a shell; `*` stays within a folder.
func matches(_ name: String, _ pattern: String) -> Bool {
    unsafe fnmatch(pattern, name, FNM_PATHNAME) == 0
}
