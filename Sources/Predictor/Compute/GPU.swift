// SPDX-License-Identifier: Apache-2.0
package import CUDA
private import Synchronization

/// A GPU that lists are made and networks are trained with, and its kernels.
package final class GPU: Sendable {
    package let device: Device
    /// Whether everything goes there that can, or only what is worth the way.
    let takesAll: Bool
    private let compiler: KernelCompiler
    private let cache: String?
    private let folders: [String]
    private let report: @Sendable (CUDAError) -> Void
    private let compiled = Mutex<[String: Kernels]>([:])
    private let made = Mutex<MatrixProducts?>(nil)
    private let isLost = Mutex(false)
    private let lacksProducts = Mutex(false)
    private let lastReport = Mutex<ContinuousClock.Instant?>(nil)

    /// `cache`: a folder for compiled kernels; `folders`: as for `Device`; `report` is told why something was
    /// computed elsewhere after all.
    package init(
        number: Int = 0,
        takesAll: Bool = true,
        cache: String? = nil,
        folders: [String] = [],
        report: @escaping @Sendable (CUDAError) -> Void = { _ in }
    ) throws(CUDAError) {
        device = try Device(number: number, folders: folders)
        compiler = try KernelCompiler(for: device.driverVersion, folders: folders)
        self.cache = cache
        self.folders = folders
        self.takesAll = takesAll
        self.report = report
    }

    /// Compiled when they are first asked for; within `Device.use`.
    func kernels(named name: String, _ source: [UInt8]) throws -> Kernels {
        try compiled.withLock { compiled in
            if let known = compiled[name] { return known }
            let source = String(decoding: source, as: UTF8.self)
            let target = try compiler.target(for: device.capability)
            let cache = cache.map {
                KernelCache($0, name, from: [source, target.name, compiler.version])
            }
            let kernels: Kernels
            if let image = cache?.image, let kept = try? Kernels(image, on: device) {
                kernels = kept
            } else {
                // Nothing was kept, or what was is damaged, or another driver wants it otherwise.
                let image = try compiler.compile(source, name: name, for: target)
                cache?.keep(image)
                kernels = try Kernels(image, on: device)
            }
            compiled[name] = kernels
            return kernels
        }
    }

    /// Opened when they are first asked for; within `Device.use`.
    func products() throws -> MatrixProducts {
        try made.withLock { made in
            if let made { return made }
            let products = try MatrixProducts(on: device, folders: folders)
            made = products
            return products
        }
    }

    /// False once it has failed: a device that was lost is not there again before the process is another.
    var isUsable: Bool { isLost.withLock { !$0 } }

    /// Whether networks can be trained on it too.
    var trains: Bool { isUsable && lacksProducts.withLock { !$0 } }

    /// What could not be done on it is done elsewhere; of room there may be more the next time.
    func failed(_ error: CUDAError) {
        if error.isOfDevice { isLost.withLock { $0 = true } }
        if error.isOfProducts { lacksProducts.withLock { $0 = true } }
        let isNew = lastReport.withLock { last in
            if last.map({ .now - $0 < .seconds(60) }) ?? false { return false }
            last = .now
            return true
        }
        if isNew || !error.isOfRoom { report(error) }
    }
}
