// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Jobs

struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Create or upgrade the schema `larder` in Postgres.",
        discussion: "Forward only; safe to run from many places at once, and again."
    )

    @OptionGroup var stores: StoreOptions

    func run() async throws {
        try await stores.withServices(schema: .migrated) { services, _ in
            if stores.json {
                try Output.json(["version": Migrator.latest])
            } else {
                print("the database has schema \(Migrator.latest)")
            }
        }
    }
}
