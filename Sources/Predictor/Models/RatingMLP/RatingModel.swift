// SPDX-License-Identifier: Apache-2.0
private import Glibc

/// How likely someone is to like something: what the first layer makes of each user and of each
/// item, and the small layers behind it, which are all that is left to do for a pair.
package struct RatingModel: Sendable {
    struct Layer: Sendable, Equatable {
        /// inputs × outputs.
        let weight: Matrix
        let bias: [Float]
    }

    /// users × width, items × width.
    let users: Matrix
    let items: Matrix
    let layers: [Layer]

    package var itemCount: Int { items.rows }

    /// A score for each item of each user, a logit: above 0 is more likely liked than not.
    package func logits(_ pairs: [(user: Int32, items: [Int32])]) -> [[Float]] {
        var all = RowBuffer(columns: users.columns)
        all.resize(rows: pairs.reduce(0) { $0 + $1.items.count })
        var row = 0
        for (user, items) in pairs {
            let own = users[row: Int(user)]
            for item in items {
                let other = self.items[row: Int(item)]
                let to = unsafe all.row(row)
                for (place, (a, b)) in zip(own, other).enumerated() {
                    // Not as max, which would hide what is no number.
                    let sum = a + b
                    unsafe to[place] = sum < 0 ? 0 : sum
                }
                row += 1
            }
        }
        for (place, layer) in layers.enumerated() {
            all = layer.forward(all, rectifies: place + 1 < layers.count)
        }
        var start = 0
        return pairs.map { _, items in
            defer { start += items.count }
            return (start..<start + items.count).map { unsafe all.row($0)[0] }
        }
    }

    /// The same as probabilities.
    package func probabilities(_ pairs: [(user: Int32, items: [Int32])]) -> [[Float]] {
        logits(pairs).map { $0.map { 1 / (1 + expf(-$0)) } }
    }
}

extension RatingModel.Layer {
    fileprivate func forward(_ x: RowBuffer, rectifies: Bool) -> RowBuffer {
        let y = RowBuffer(rows: x.rows, columns: weight.columns)
        var weights = weight.values
        unsafe weights.withUnsafeMutableBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return }
            BLAS.multiply(
                MatrixView(x, rows: 0..<x.rows),
                unsafe MatrixView(
                    start,
                    rows: weight.rows,
                    columns: weight.columns,
                    stride: weight.columns
                ),
                into: MatrixView(y, rows: 0..<y.rows)
            )
        }
        for row in 0..<y.rows {
            let to = unsafe y.row(row)
            for column in 0..<y.columns {
                let value = unsafe to[column] + bias[column]
                unsafe to[column] = rectifies && value < 0 ? 0 : value
            }
        }
        return y
    }
}

// MARK: files

extension RatingModel {
    private static let file = "ranker.safetensors"

    package func write(to folder: String) throws(PredictorError) {
        var tensors: [String: Tensor] = [
            "users": .float32(users.values, shape: [users.rows, users.columns]),
            "items": .float32(items.values, shape: [items.rows, items.columns]),
        ]
        for (place, layer) in layers.enumerated() {
            tensors["layer.\(place).weight"] = .float32(
                layer.weight.values,
                shape: [layer.weight.rows, layer.weight.columns]
            )
            tensors["layer.\(place).bias"] = .float32(layer.bias, shape: [layer.bias.count])
        }
        try SafeTensors.write(tensors, to: "\(folder)/\(Self.file)")
    }

    package init(from folder: String) throws(PredictorError) {
        let file = try TensorFile("\(folder)/\(Self.file)")
        users = try file.matrix("users")
        items = try file.matrix("items")
        var layers: [Layer] = []
        var width = users.columns
        while file.has("layer.\(layers.count).weight") {
            let name = "layer.\(layers.count)"
            let layer = Layer(
                weight: try file.matrix(name + ".weight"),
                bias: try file.float32(name + ".bias")
            )
            guard layer.weight.rows == width, layer.bias.count == layer.weight.columns else {
                throw .file("\(folder)/\(Self.file)", "has layers that do not fit each other")
            }
            width = layer.bias.count
            layers.append(layer)
        }
        guard width == 1, items.columns == users.columns else {
            throw .file("\(folder)/\(Self.file)", "has layers that do not fit each other")
        }
        self.layers = layers
    }
}
