// SPDX-License-Identifier: Apache-2.0

/// The draws behind a report, as a file that two reports are compared from.
package enum ReportFile {
    private static let file = "replicates.safetensors"

    /// What the draws of one system and metric are called.
    private static func name(_ system: String, _ metric: String) -> String {
        "\(system) \(metric)"
    }

    package static func write(
        _ figures: [String: [String: Replicated]],
        to folder: String
    ) throws(PredictorError) {
        var tensors: [String: Tensor] = [:]
        for (system, metrics) in figures {
            for (metric, figure) in metrics {
                tensors[name(system, metric)] = .float32(
                    figure.replicates.map { Float($0) },
                    shape: [figure.replicates.count]
                )
            }
        }
        try SafeTensors.write(tensors, to: "\(folder)/\(file)")
    }

    /// Of one system; `report`: the one it was written with.
    package static func read(
        from folder: String,
        _ report: EvaluationReport,
        system name: String
    ) throws(PredictorError) -> [String: Replicated] {
        let tensors = try TensorFile("\(folder)/\(file)")
        var figures: [String: Replicated] = [:]
        for (metric, estimate) in report.system(name)?.metrics ?? [:] {
            let replicates = try tensors.float32(Self.name(name, metric)).map { Double($0) }
            figures[metric] = Replicated(estimate.value, replicates)
        }
        return figures
    }
}
