// SPDX-License-Identifier: Apache-2.0
import Predictor
import Tables
import Transfer

extension Pipeline {
    /// For pages, trackers and comparisons: without what addresses may hold that is not for everybody,
    /// signatures after a `?`, and whole addresses of web-hooks.
    var shareable: Pipeline {
        var pipeline = self
        pipeline.dataset.source.hideSignature()
        pipeline.dataset.users?.table.hideSignature()
        pipeline.dataset.items?.table.hideSignature()
        pipeline.check.cases?.hideSignature()
        pipeline.notify = notify?.map { hook in
            Hook(url: HTTP.host(of: hook.url), events: hook.events, secret: hook.secret)
        }
        return pipeline
    }
}

extension TableSource {
    /// In a query, of each address in it.
    fileprivate mutating func hideSignature() {
        text = text.replacing(/([a-z0-9]+:\/\/[^'"\s?]*)\?[^'"\s]*/) { "\($0.1)?…" }
    }
}
