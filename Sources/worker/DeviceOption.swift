// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import CUDA
import Foundation
import Logging
import Predictor

/// Where lists are made and networks are trained.
enum DeviceOption: ExpressibleByArgument, Equatable {
    /// On a GPU if there is one, what is worth the way.
    case automatic
    case cpu
    /// On this one; without it nothing is begun.
    case cuda(Int)

    init?(argument: String) {
        switch argument {
        case "auto": self = .automatic
        case "cpu": self = .cpu
        default:
            guard argument.hasPrefix("cuda:"), let number = Int(argument.dropFirst(5)), number >= 0
            else { return nil }
            self = .cuda(number)
        }
    }

    var defaultValueDescription: String { "cpu" }
    static var allValueStrings: [String] { ["auto", "cpu", "cuda:0"] }

    /// `home`: compiled kernels are kept there.
    func gpu(home: String, _ logger: Logger) throws -> GPU? {
        let number: Int
        switch self {
        case .cpu: return nil
        case .automatic: number = 0
        case .cuda(let given): number = given
        }
        do {
            let gpu = try GPU(
                number: number,
                takesAll: self != .automatic,
                cache: home + "/kernels",
                folders: Self.folders
            ) { error in
                let what = error.isOfProducts ? "networks are trained on" : "the GPU's work goes to"
                logger.warning("\(what) the processor: \(error)")
            }
            try gpu.prepare()
            let device = gpu.device
            logger.info(
                "computing on cuda:\(number), \(device.name), \(Output.bytes(device.memory))"
            )
            return gpu
        } catch let error as CUDAError {
            guard self == .automatic else { throw SettingsError("\(error)") }
            // Most machines have none; one that has something and cannot use it should say why.
            if case .absent = error {
                logger.debug("computing on the processor: \(error)")
            } else {
                logger.warning("computing on the processor: \(error)")
            }
            return nil
        }
    }

    /// Where CUDA's libraries are, beside the places where the system looks.
    static var folders: [String] {
        StoreOptions.environment("LARDER_CUDA").map { $0.split(separator: ":").map(String.init) }
            ?? []
    }
}
