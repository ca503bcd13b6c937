// SPDX-License-Identifier: Apache-2.0
import CZlib
import CZstd
import TestSupport

/// A gzip file with this content.
func gzip(_ text: String) throws -> [UInt8] {
    let folder = try TemporaryFolder()
    let file = unsafe gzopen(folder.path + "/made.gz", "wb")
    _ = unsafe gzputs(file, text)
    _ = unsafe gzclose(file)
    return folder.bytes(of: "made.gz")
}

/// A Zstandard frame with this content and its checksum.
func zstd(_ text: String) -> [UInt8] {
    let source = Array(text.utf8)
    var packed = [UInt8](repeating: 0, count: ZSTD_compressBound(source.count))
    let context = unsafe ZSTD_createCCtx()
    defer { _ = unsafe ZSTD_freeCCtx(context) }
    _ = unsafe ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
    let count = unsafe ZSTD_compress2(context, &packed, packed.count, source, source.count)
    return Array(packed[..<count])
}
