// SPDX-License-Identifier: Apache-2.0
import Foundation
import Yams

/// Reads who is told of a run: `track:` and `notify:`.
struct AnnouncementParser {
    private let pipeline: YAMLSection
    private let problems: Problems

    init(_ pipeline: YAMLSection, _ problems: Problems) {
        self.pipeline = pipeline
        self.problems = problems
    }

    /// `experiment`: where the file names none.
    func track(experiment: String) -> Pipeline.Track? {
        guard let section = pipeline.section("track") else { return nil }
        let track = Pipeline.Track(
            mlflow: address("mlflow", section),
            experiment: section.string("experiment") ?? experiment
        )
        section.finish()
        return track
    }

    func notify() -> [Pipeline.Hook]? {
        guard let node = pipeline.value("notify") else { return nil }
        guard let list = node.sequence, !list.isEmpty else {
            pipeline.wrong(node, "notify", "a list of web-hooks, each with a url")
            return nil
        }
        return list.map { hook($0) }
    }

    private func hook(_ node: Node) -> Pipeline.Hook {
        let section = YAMLSection(node, name: "notify", problems)
        let hook = Pipeline.Hook(
            url: address("url", section),
            events: events(section),
            secret: section.string("secret")
        )
        if let variable = hook.secret, variable.wholeMatch(of: /[A-Za-z_][A-Za-z0-9_]*/) == nil {
            // Perhaps the secret itself, which is not to be shown.
            problems.add(
                section.value("secret"),
                "notify: secret must name the environment variable of the workers that has it"
            )
        }
        section.finish()
        return hook
    }

    private func events(_ section: YAMLSection) -> [RunEvent] {
        guard let names = section.strings("events") else { return RunEvent.allCases }
        if names.isEmpty, let node = section.value("events") {
            section.wrong(node, "events", "a list of at least one")
        }
        let known = RunEvent.allCases.map(\.rawValue)
        return names.compactMap { name in
            if let event = RunEvent(rawValue: name) { return event }
            problems.add(
                section.value("events"),
                "notify: events has \"\(name)\", but there are only \(known.joined(separator: ", "))"
            )
            return nil
        }
    }

    private func address(_ key: String, _ section: YAMLSection) -> String {
        let text = section.requiredString(key)
        guard !text.isEmpty, let node = section.value(key) else { return text }
        let parts = URLComponents(string: text)
        if !["http", "https"].contains(parts?.scheme ?? "") || (parts?.host ?? "").isEmpty {
            problems.add(node, "\(section.path(key)) must be an address such as https://host/path")
        } else if parts?.user != nil {
            problems.add(
                node,
                "\(section.path(key)) has a name or password in it, which would stand in the queue"
            )
        }
        return text
    }
}
