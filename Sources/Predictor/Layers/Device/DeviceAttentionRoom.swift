// SPDX-License-Identifier: Apache-2.0
import CUDA

/// What the attentions of a transformer work in, one after the other.
final class DeviceAttentionRoom {
    /// What queries want of distances, heads × queries × distances, and what comes of it.
    let byDistance: DeviceMatrix
    /// The probabilities that dropout left, at the same places.
    let kept: DeviceMatrix
    /// Floats of each of both.
    ///
    /// Never what happens to be free: in how many parts gradients are added up is in their last bits.
    let block: Int
    private var waves: (matrix: DeviceMatrix, reach: Int)?
    private let device: Device

    init(_ layers: DeviceLayers, block: Int) throws(CUDAError) {
        self.block = block
        device = layers.device
        byDistance = try layers.matrix(columns: 1)
        kept = try layers.matrix(columns: 1)
    }

    /// `RelativeAttention.waves` of at least this reach, and of what reach they are.
    func waves(
        reach: Int,
        width: Int
    ) throws(CUDAError) -> (matrix: DeviceMatrix, reach: Int) {
        if let waves, waves.reach >= reach { return waves }
        let new = try DeviceMatrix(
            RelativeAttention.waves(reach: reach, width: width),
            on: device
        )
        waves = (new, reach)
        return (new, reach)
    }
}
