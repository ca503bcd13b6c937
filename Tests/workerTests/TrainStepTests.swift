// SPDX-License-Identifier: Apache-2.0
import Jobs
import Testing

@testable import worker

struct TrainStepTests {
    @Test func `a model of another vocabulary is refused`() throws {
        let model = Pipeline.Model.popularity
        let about = TrainStep.About(settings: model, dataset: "aaaaaaaaaaaabbb", parts: [0])
        try about.check(isOf: "aaaaaaaaaaaabbb", model: "m")
        let error = #expect(throws: FatalJobError.self) {
            try about.check(isOf: "cccccccccccccdd", model: "eeeeeeeeeeeeeff")
        }
        #expect(
            error?.description.contains(
                "model eeeeeeeeeeee was trained on dataset aaaaaaaaaaaa, not on cccccccccccc of this run"
            ) == true
        )
    }
}
