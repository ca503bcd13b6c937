// SPDX-License-Identifier: Apache-2.0
import Jobs
import Testing

@testable import worker

struct RunPlanTests {
    @Test(arguments: [
        "", "rank: { kind: rating-mlp }", "check: [ndcg@10 > popularity]",
        "check: [share-of-short-lists < 1%]",
    ])
    func `every job waits for jobs that stand before it`(_ more: String) throws {
        try check("{ kind: item-knn }", more)
        try check("{ kind: prod2vec, sweep: { halving: 2, epochs: [1, 2, 3, 4] } }", more)
    }

    private func check(_ model: String, _ more: String) throws {
        let text = """
            feed: f
            dataset:
              source: { csv: e.csv }
              columns: { user: u, item: i, time: t }
              split: { by: leave-last-one, validation: true }
            model: \(model)
            \(more)
            predict: { for: users }
            """
        let pipeline = try PipelineText.parse(text)
        var seen: Set<String> = []
        for job in RunPlan.jobs(pipeline) {
            #expect((job.after + job.afterEndOf).allSatisfy(seen.contains))
            #expect(seen.insert(job.name).inserted)
        }
        #expect(seen.contains(RunPlan.publishName))
        let ranks = more.hasPrefix("rank")
        #expect(seen.contains("train ranker") == ranks && seen.contains("refit ranker") == ranks)
        // Gates of lists wait for lists.
        #expect(seen.contains("gate") == more.contains("ndcg"))
        #expect(seen.contains("train") == (pipeline.sweep == nil))
        #expect(seen.contains("hindsight"))
    }
}
