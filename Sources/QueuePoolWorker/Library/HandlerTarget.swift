// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// A target of the program that uses this library. Each delivery is a task of its own, which can be cancelled by its shard.
final class HandlerTarget: DeliveryTarget {
    private static let secondsMax = 86_400

    private struct State {
        var next = 0
        var deliveries: [Int: (shard: Int, task: Task<DeliveryOutcome, Never>)] = [:]
    }

    let kind = "handler"
    private let target: any MessageTarget
    private let state = Mutex(State())

    init(_ target: any MessageTarget) { self.target = target }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        let task = Task { [target] in await HandlerTarget.outcome(target, Message(message, attempt: attempt)) }
        let number = state.withLock { state in
            state.next += 1
            state.deliveries[state.next] = (message.shard, task)
            return state.next
        }
        defer { state.withLock { $0.deliveries[number] = nil } }
        return await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
    }

    /// Cancels the deliveries of these shards that are under way.
    func cancel(where isLost: (_ shard: Int) -> Bool) {
        let underWay = state.withLock { Array($0.deliveries.values) }
        for (shard, task) in underWay where isLost(shard) { task.cancel() }
    }

    private static func outcome(_ target: any MessageTarget, _ message: Message) async -> DeliveryOutcome {
        do {
            try Task.checkCancellation()
            try await target.deliver(message)
            return .delivered
        } catch let refused as DeliveryRefused {
            return .refused(errorClass: refused.errorClass)
        } catch let later as RetryAfter {
            let seconds = min(later.seconds, HandlerTarget.secondsMax)
            return .failed(errorClass: "retry-after", retryAfterMilliseconds: Int64(seconds) * 1_000)
        } catch  where Task.isCancelled {
            // It may have arrived or not, and whoever has the message next delivers it again. There is no other target that
            // could get it meanwhile, so that nothing must be remembered; and the message is not to blame.
            return .cancelled
        } catch {
            return .failed(errorClass: ErrorClass.of(error))
        }
    }
}
