// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSQS
import Synchronization

// Deletes and changes of visibility of a remote queue. Those of several callers go into common requests (see
// HandleCollector), one collector for each kind: a delete and a change of visibility of one handle may overtake each
// other, which does no harm, since whoever needs their order waits for the first. A completion never comes within the
// call.

extension QueueShard {
    package func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        perform(handles.map { HandleChange(handle: $0) }, by: deletes) { [self] outcomes in
            let deleted = outcomes.count { $0 == .done }
            state.withLock { $0.counts.deleted += deleted }
            completion(
                outcomes.map { outcome in
                    switch outcome {
                    case .done: .deleted
                    case .lost: Mutation.expiredDeleteIsDone.isOn ? .deleted : .expired
                    case .failed(let error): Mutation.failedDeleteRequestIsDone.isOn ? .deleted : .failed(error)
                    }
                })
        }
    }

    package func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        let changes = changes.map { HandleChange(handle: $0.handle, seconds: $0.seconds) }
        perform(changes, by: visibilityChanges) { outcomes in
            completion(
                outcomes.map { outcome in
                    switch outcome {
                    case .done: .changed
                    case .lost: .unavailable
                    case .failed(let error): Mutation.failedExtensionIsDone.isOn ? .changed : .failed(error)
                    }
                })
        }
        return nil
    }

    /// A call counts as under way until it is completed, so that closing waits for what still gathers.
    private func perform(
        _ changes: [HandleChange], by requests: HandleRequests, completion: @escaping HandleRequests.Completion
    ) {
        guard begin() else {
            let refused = [HandleOutcome](repeating: .failed(.closed), count: changes.count)
            return clock.schedule(afterMilliseconds: 0) { completion(refused) }
        }
        requests.perform(changes) { [self] outcomes in
            completion(outcomes)
            end()
        }
    }
}

/// Drives a collector of handles: takes calls in, and sends what it says.
final class HandleRequests: Sendable {
    typealias Completion = @Sendable ([HandleOutcome]) -> Void

    private let client: QueueClient
    private let clock: any Clock
    private let write: @Sendable ([ClientRequest.HandleEntry], _ queue: String) -> ClientRequest
    private let collector: Mutex<HandleCollector<Completion>>

    /// - Parameter write: makes the request of which this drives one kind.
    init(
        client: QueueClient, clock: any Clock, seed: UInt64,
        write: @escaping @Sendable ([ClientRequest.HandleEntry], _ queue: String) -> ClientRequest
    ) {
        self.client = client
        self.clock = clock
        self.write = write
        let quota = AdaptiveQuota(.ofQueue(startingAt: nil), now: clock.now())
        collector = Mutex(HandleCollector(pace: RequestPace(quota: quota, seed: seed)))
    }

    func set(quota: AdaptiveQuota) { collector.withLock { $0.set(quota: quota) } }

    /// Completes later, never within this call.
    func perform(_ changes: [HandleChange], completion: @escaping Completion) {
        handle(.enqueue(changes, completion), isWithinCall: true)
    }

    private func handle(_ event: HandleCollector<Completion>.Event, isWithinCall: Bool = false) {
        let effects = collector.withLock { [now = clock.now()] in $0.handle(event, now: now) }
        for effect in effects {
            switch effect {
            case .wake(let at): clock.schedule(at: at) { [weak self] in self?.handle(.timer) }
            case .send(let id, let changes): send(id, changes)
            case .complete(let completion, let outcomes) where isWithinCall:
                clock.schedule(afterMilliseconds: 0) { completion(outcomes) }
            case .complete(let completion, let outcomes): completion(outcomes)
            }
        }
    }

    private func send(_ id: RequestID, _ changes: [HandleChange]) {
        let entries = changes.map {
            ClientRequest.HandleEntry(handle: $0.handle.remote?.text ?? "", seconds: $0.seconds)
        }
        client.perform(
            write(entries, client.address.queueURL), timeoutMilliseconds: QueueShard.requestMilliseconds
        ) { [self] result in
            switch result {
            case .success(let body): handle(HandleRequests.answered(id, body, count: changes.count))
            // What was never sent may fail before the call returns, and so may what then leaves in its place.
            case .failure(let error) where error.isOfUnsent:
                clock.schedule(afterMilliseconds: 0) { [self] in handle(.failed(id, error.asShardError)) }
            case .failure(let error): handle(.failed(id, error.asShardError))
            }
        }
    }

    private static func answered(
        _ id: RequestID, _ body: [UInt8], count: Int
    ) -> HandleCollector<Completion>.Event {
        guard let answers = try? BatchAnswers.handles(body, count: count) else { return .failed(id, .unknownOutcome) }
        return .answered(
            id,
            answers.map { answer in
                switch answer {
                case .done: .done
                case .lost: .lost
                case .failed(let fault): .failed(AWSError(ofHandle: fault).asShardError)
                case .unknown: .failed(.unknownOutcome)
                }
            })
    }
}
