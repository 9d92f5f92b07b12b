// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// The redrives that run, and the latest that ran, of each source.
package final class MoveTasks: Sendable {
    private static let keptMax = 10
    private let tasks = Mutex<[String: [MoveTask]]>([:])

    package init() {}

    /// Starts a redrive unless one of the same source runs.
    /// - Parameter ended: called when it is over, on any thread.
    /// - Returns: whether it was started.
    package func start(
        _ task: MoveTask, ended: @escaping @Sendable (MoveTask.Report) -> Void = { _ in }
    ) -> Bool {
        let isStarted = tasks.withLock { tasks in
            let known = tasks[task.source.text] ?? []
            if known.contains(where: { [.running, .cancelling].contains($0.report.status) }) { return false }
            tasks[task.source.text] = Array(([task] + known).prefix(MoveTasks.keptMax))
            return true
        }
        guard isStarted else { return false }
        Task.detached {
            await task.run()
            ended(task.report)
        }
        return true
    }

    /// Redrives of a source, newest first.
    package func tasks(of source: PoolName) -> [MoveTask] { tasks.withLock { $0[source.text] ?? [] } }

    package func task(_ handle: String) -> MoveTask? {
        tasks.withLock { tasks in tasks.values.lazy.flatMap { $0 }.first { $0.handle == handle } }
    }
}
