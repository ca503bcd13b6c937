// SPDX-License-Identifier: Apache-2.0
import Glibc
import Subprocess
import SystemPackage
import Synchronization

/// A command that goes on in the background, and is killed when nobody holds it any more.
///
/// Not Foundation's `Process`: its `waitUntilExit` blocks one of the few threads that tests share,
/// and its notice of an exit is lost now and then when several processes start at once.
final class BackgroundProcess: Sendable {
    private struct State {
        var pid: pid_t?
        var status: TerminationStatus?
        var failure: (any Error)?
    }

    private final class Shared: Sendable {
        let state = Mutex(State())
    }

    private let shared = Shared()

    /// Returns once the command runs; throws if it cannot be started.
    init(
        _ executable: Executable,
        _ arguments: [String],
        environment: Environment = .inherit,
        log: FileDescriptor? = nil
    ) async throws {
        Task.detached { [shared] in
            do {
                let result = try await unsafe Subprocess.run(
                    executable,
                    arguments: Arguments(arguments),
                    environment: environment,
                    input: .none,
                    output: .discarded,
                    error: .fileDescriptor(
                        log ?? .open("/dev/null", .writeOnly),
                        closeAfterSpawningProcess: true
                    )
                ) { execution in
                    shared.state.withLock { $0.pid = execution.processIdentifier.value }
                }
                shared.state.withLock { $0.status = result.terminationStatus }
            } catch {
                shared.state.withLock { $0.failure = error }
            }
        }
        try await waitUntil("\(executable) runs") {
            try shared.state.withLock {
                if let failure = $0.failure { throw failure }
                return $0.pid != nil
            }
        }
    }

    deinit { signal(SIGKILL) }

    var pid: Int { shared.state.withLock { Int($0.pid ?? 0) } }

    var isRunning: Bool { shared.state.withLock { $0.status == nil } }

    func signal(_ number: Int32) {
        shared.state.withLock {
            guard let pid = $0.pid, $0.status == nil else { return }
            _ = Glibc.kill(pid, number)
        }
    }

    func kill() { signal(SIGKILL) }

    /// SIGKILL, and until it is gone.
    func killed() async throws {
        kill()
        try await waitUntil("the killed process is gone") { !isRunning }
    }

    /// SIGTERM, and the exit status; negative when a signal ended it.
    func terminate() async throws -> Int32 {
        signal(SIGTERM)
        try await waitUntil("the process has ended") { !isRunning }
        return switch shared.state.withLock({ $0.status }) {
        case .exited(let code): code
        case .signaled(let signal): -signal
        case nil: -1
        }
    }
}
