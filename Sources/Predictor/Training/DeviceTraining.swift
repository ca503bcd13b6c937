// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What of a network learns on a device.
protocol DeviceTwin: AnyObject {
    var parameters: [DeviceParameter] { get }
    /// Whether the step that is under way has begun to move them.
    var isMoving: Bool { get }
    /// Brings what was learned to where it came from.
    func settle() throws
    /// Ends the step that is under way: its loss; waits for it.
    func finish() throws -> Double
}

extension DeviceTwin {
    func settle() throws { for parameter in parameters { try parameter.settle() } }
}

/// Has a network learn on a device, where there is one and for as long as that has room for it.
final class DeviceTraining<Twin: DeviceTwin> {
    private let gpu: GPU
    private let make: (DeviceLayers) throws -> Twin
    private var twin: Twin?
    private var isOver = false
    private var isSettled = true
    /// The step whose needs the twin has already.
    private var staged: Int?

    /// The device, once it learns and while it does.
    var name: String? { twin == nil ? nil : gpu.device.name }

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
        launch: (Twin) throws -> Void,
        ahead: ((Twin) -> Void)?
    ) throws -> Double? {
        guard !isOver else { return nil }
        var isLaunched = false
        do {
            let twin = try twin ?? gpu.device.use { try make(try DeviceLayers(gpu)) }
            self.twin = twin
            if staged != step { stage(twin) }
            isSettled = false
            try gpu.device.use { try launch(twin) }
            // From here on this step is not the processor's any more: the next one has its place.
            isLaunched = true
            // Others may have the device meanwhile.
            if let ahead {
                ahead(twin)
                staged = step + 1
            }
            return try gpu.device.use { try twin.finish() }
        } catch let error as CUDAError {
            gpu.failed(error)
            if let twin {
                guard error.isOfRoom, !isLaunched, !twin.isMoving else { throw error }
                try settle()
            }
            (twin, isOver) = (nil, true)
            return nil
        }
    }

    /// Brings what was learned to the parameters of the network.
    func settle() throws {
        guard let twin, !isSettled else { return }
        do {
            try gpu.device.use { try twin.settle() }
            isSettled = true
        } catch let error as CUDAError {
            gpu.failed(error)
            throw error
        }
    }
}
