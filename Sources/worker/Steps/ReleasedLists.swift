// SPDX-License-Identifier: Apache-2.0
import Artifacts
import Jobs
import Predictor
import Tables

extension Services {
    /// The ids that lists of a release may be found by; fails where its dataset is gone.
    func ids(of release: Releases.Release) throws -> Vocabulary {
        let folder = try artifacts.get(kind: "dataset", release.dataset).folder
        return release.listsFor == Audience.users.rawValue
            ? try Dataset.readUsers(from: folder) : try Dataset.readItems(from: folder)
    }
}
