// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What of a network learns on a device.
protocol DeviceTwin: AnyObject {
    var parameters: [DeviceParameter] { get }
    /// Whether the step that is under way has begun to move them.
    var isMoving: Bool { get }
}

/// Has a network learn on a device, where there is one and for as long as that has room for it.
final class DeviceTraining<Twin: DeviceTwin> {
    private let gpu: GPU
    private let make: (DeviceLayers) throws -> Twin
    private var twin: Twin?
    private var isOver = false
    private var isSettled = true

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
    /// `stage` is done while others have the device. A device that is lost has what it learned no more: that is thrown.
    func learn(stage: (Twin) -> Void, _ step: (Twin) throws -> Double) throws -> Double? {
        guard !isOver else { return nil }
        do {
            let twin = try twin ?? gpu.device.use { try make(try DeviceLayers(gpu)) }
            self.twin = twin
            stage(twin)
            isSettled = false
            return try gpu.device.use { try step(twin) }
        } catch let error as CUDAError {
            gpu.failed(error)
            if let twin {
                guard error.isOfRoom, !twin.isMoving else { throw error }
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
            try gpu.device.use { for parameter in twin.parameters { try parameter.settle() } }
            isSettled = true
        } catch let error as CUDAError {
            gpu.failed(error)
            throw error
        }
    }
}
