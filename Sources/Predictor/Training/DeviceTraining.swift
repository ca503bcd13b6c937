// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What of a network learns on a device.
protocol DeviceTwin: AnyObject {
    var parameters: [DeviceParameter] { get }
    /// Brings what was learned to where it came from.
    func settle() throws
    /// Of the step that is under way; waits for it.
    func meanLoss() throws -> Double
}

extension DeviceTwin {
    func settle() throws { for parameter in parameters { try parameter.settle() } }
}

/// Has a network learn on a device, where there is one and for as long as that has room for it.
final class DeviceTraining<Twin: DeviceTwin> {
    private let gpu: GPU
    private let make: (DeviceLayers) throws -> Twin
    private var own: Own?
    private var isOver = false
    private var isSettled = true
    /// The step whose needs the twin has already.
    private var staged: Int?

    private struct Own {
        let twin: Twin
        let batch: DeviceBatch
        let update: DeviceUpdate
    }

    /// The device, once it learns and while it does.
    var name: String? { own == nil ? nil : gpu.device.name }

    /// Nil without a device.
    ///
    /// `make` is called at the first step, when states have been read.
    init?(_ gpu: GPU?, _ make: @escaping (DeviceLayers) throws -> Twin) {
        guard let gpu, gpu.trains else { return nil }
        self.gpu = gpu
        self.make = make
    }

    /// A step; nil where the processor is to do it, on which what was learned before is then.
    ///
    /// `stage` gives the twin what it needs, unless `ahead` of the step before did, which gives it what the next one
    /// needs while the device computes. A device that is lost has what it learned no more: that is thrown.
    func learn(
        step: Int,
        stage: (Twin) -> Void,
        launch: (Twin, DeviceUpdate) throws -> Void,
        ahead: ((Twin) -> Void)?
    ) throws -> Double? {
        guard !isOver else { return nil }
        var isLaunched = false
        do {
            let own = try own ?? begin()
            self.own = own
            if staged != step {
                own.batch.begin()
                stage(own.twin)
            }
            isSettled = false
            try gpu.device.use {
                own.update.beginStep()
                try own.batch.send()
                try launch(own.twin, own.update)
            }
            // From here on this step is not the processor's any more: the next one has its place.
            isLaunched = true
            // Others may have the device meanwhile.
            if let ahead {
                own.batch.begin()
                ahead(own.twin)
                staged = step + 1
            }
            return try gpu.device.use {
                try own.update.finishStep()
                return try own.twin.meanLoss()
            }
        } catch let error as CUDAError {
            gpu.failed(error)
            if let own {
                guard error.isOfRoom, !isLaunched, !own.update.isMoving else { throw error }
                try settle()
            }
            (own, isOver) = (nil, true)
            return nil
        }
    }

    private func begin() throws -> Own {
        try gpu.device.use {
            let layers = try DeviceLayers(gpu)
            let update = try DeviceUpdate(layers)
            return Own(twin: try make(layers), batch: layers.batch, update: update)
        }
    }

    /// Brings what was learned to the parameters of the network.
    func settle() throws {
        guard let own, !isSettled else { return }
        do {
            try gpu.device.use { try own.twin.settle() }
            isSettled = true
        } catch let error as CUDAError {
            gpu.failed(error)
            throw error
        }
    }
}
