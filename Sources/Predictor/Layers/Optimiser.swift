// SPDX-License-Identifier: Apache-2.0
import CKernels
private import Glibc

/// How weights follow their gradients.
package enum OptimiserKind: String, Sendable, Codable, CaseIterable {
    case sgd
    /// Duchi et al. 2011, with Keras' initial sum of squares.
    case adagrad
    /// Loshchilov and Hutter 2019.
    case adamw

    /// Numbers kept beside each weight.
    var slots: Int {
        switch self {
        case .sgd: 0
        case .adagrad: 1
        case .adamw: 2
        }
    }

    /// What they begin with.
    var initial: Float { self == .adagrad ? 0.1 : 0 }
}

package struct OptimiserSettings: Sendable, Codable, Equatable {
    package enum Schedule: String, Sendable, Codable, CaseIterable {
        case constant
        /// Down to nothing at the last step.
        case linear
        /// The same along a cosine, of half a wave or of `waves`.
        case cosine
    }

    package var kind = OptimiserKind.adamw
    package var learningRate = 0.001
    package var schedule = Schedule.constant
    /// Of a cosine: how often it comes to where it began; nil: half a time.
    package var waves: Double?
    /// Steps over which the rate rises from nothing.
    package var warmUp = 0
    /// AdamW: the share of each weight that goes at each step, times the rate; of embeddings only
    /// those rows that are in the batch.
    package var weightDecay = 0.0
    /// The longest that the gradients of a step may be together; 0: as long as they are.
    package var clip = 0.0

    package init() {}

    var clips: Bool { clip > 0 }

    /// What gradients are to be multiplied with, by the sum of their squares.
    fileprivate func clipped(_ squares: Double) -> Float {
        // Of gradients that are no numbers nothing is left: the loss tells of it.
        Float(min(1, clip / max(squares.squareRoot(), 1e-12)))
    }

    /// The rate at a step, from 0, of so many.
    func rate(at step: Int, of steps: Int) -> Double {
        let warm = min(1, Double(step + 1) / Double(warmUp + 1))
        let left = 1 - Double(min(step, steps)) / Double(max(1, steps))
        return switch schedule {
        case .constant: learningRate * warm
        case .linear: learningRate * warm * left
        case .cosine: learningRate * warm * (0.5 + 0.5 * cos(2 * .pi * (waves ?? 0.5) * (1 - left)))
        }
    }
}

/// One step of an optimiser.
struct Optimiser: Sendable {
    /// As Keras and PyTorch have them.
    private var kernel: larder_optimiser

    /// `step`: from 0, of the schedule's; `after`: steps of earlier schedules; `squares`: the sum of
    /// those of all gradients, where the settings clip.
    init(
        _ settings: OptimiserSettings,
        step: Int,
        of steps: Int,
        after earlier: Int = 0,
        squares: Double? = nil
    ) {
        kernel = larder_optimiser()
        switch settings.kind {
        case .sgd: kernel.kind = LARDER_SGD
        case .adagrad: kernel.kind = LARDER_ADAGRAD
        case .adamw: kernel.kind = LARDER_ADAMW
        }
        kernel.rate = Float(settings.rate(at: step, of: steps))
        kernel.epsilon = settings.kind == .adagrad ? 1e-7 : 1e-8
        kernel.beta1 = 0.9
        kernel.beta2 = 0.999
        kernel.decay = Float(settings.weightDecay)
        kernel.unbias1 = Float(1 / (1 - pow(0.9, Double(earlier + step + 1))))
        kernel.unbias2 = Float(1 / (1 - pow(0.999, Double(earlier + step + 1))))
        kernel.scale = squares.map { settings.clipped($0) } ?? 1
    }

    func move(
        _ values: UnsafeMutablePointer<Float>,
        _ state: UnsafeMutablePointer<Float>,
        by gradient: UnsafePointer<Float>,
        count: Int
    ) {
        unsafe withUnsafePointer(to: kernel) {
            unsafe larder_optimise($0, values, state, gradient, count)
        }
    }

    func withKernel(_ body: (UnsafePointer<larder_optimiser>) -> Void) {
        unsafe withUnsafePointer(to: kernel, body)
    }
}
