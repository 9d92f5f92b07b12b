// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSQS
import Synchronization

// Receives of a remote queue: long polls that those who wait share (see PolledMessages), and looks.

extension QueueShard {
    package func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        let now = clock.now()
        let visibility = visibilitySeconds(command)
        let (asked, isPolling) = state.withLock { state -> (PolledMessages.Asked, Bool) in
            if state.isClosed { return (PolledMessages.Asked(failure: .closed), false) }
            let asked =
                if case .wait(let seconds) = command.patience {
                    state.polled.ask(
                        limit: command.limit, visibilitySeconds: visibility, patienceSeconds: seconds, now: now)
                } else {
                    state.polled.take(limit: command.limit, visibilitySeconds: visibility, now: now)
                }
            return (asked, state.polled.pollCount > 0)
        }
        release(asked.released)
        if let seconds = asked.pollSeconds { poll(command, seconds) }
        if let at = asked.wakeAt { clock.schedule(at: at) { [weak self] in self?.notifyReady() } }
        if !asked.given.isEmpty { return hand(asked, visibility, completion) }
        switch command.patience {
        // Those who wait are woken when there is something; a failure is for those who do not wait any longer.
        case .wait where asked.failure != .closed: return .success([])
        // A poll that waits at the service would have got what is there.
        case .look where asked.failure == nil && !isPolling:
            if let wait = state.withLock({ $0.polled.look(now: now) }) {
                return .failure(.quotaExceeded(retryAfterMilliseconds: wait))
            }
            let isAsked = request(command, seconds: 0) { [self] result in
                let error: ShardError? = if case .failure(let error) = result { error } else { nil }
                state.withLock { [end = clock.now()] in $0.polled.lookEnded(error, startedAt: now, now: end) }
                completion(result.map { $0.map(\.message) })
            }
            return isAsked ? nil : .failure(.closed)
        default: return asked.failure.map { .failure($0) } ?? .success([])
        }
    }

    private func visibilitySeconds(_ command: ReceiveCommand) -> Int {
        command.visibilitySeconds ?? state.withLock { $0.attributes.visibilityTimeoutSeconds }
    }

    /// Hands over what was kept. Where its timeout had to be set anew and that failed, it is not handed over.
    private func hand(
        _ asked: PolledMessages.Asked, _ visibility: Int,
        _ completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        guard asked.mustRenew else { return .success(asked.given) }
        // Order: what follows a message that could not be kept is not handed over either, whatever its group.
        let kept: @Sendable ([VisibilityDecision]) -> ReceiveAnswer = { decisions in
            .success(zip(asked.given, decisions).prefix { $0.1 == .changed }.map(\.0))
        }
        return changeVisibility(asked.given.map { ($0.handle, visibility) }) { completion(kept($0)) }.map(kept)
    }

    private func poll(_ command: ReceiveCommand, _ seconds: Int) {
        var command = command
        // The id belongs to one caller's look, and a poll is for whoever waits.
        command.attemptID = nil
        let startedAt = clock.now()
        let visibility = visibilitySeconds(command)
        let ended: Received = { [self, limit = command.limit] result in
            let now = clock.now()
            let end = PolledMessages.PollEnd(
                result.map { $0.map(\.message) }, groups: (try? result.get().map(\.group)) ?? [], limit: limit,
                visibilitySeconds: visibility, startedAt: startedAt, waitSeconds: seconds)
            let (times, isClosed) = state.withLock { ($0.polled.pollEnded(end, now: now), $0.isClosed) }
            if isClosed { return release(state.withLock { $0.polled.takeAll() }) }
            if let oldAt = times.oldAt { clock.schedule(at: oldAt) { [weak self] in self?.dropOld() } }
            if Mutation.pollWakesNobody.isOn { return }
            if times.wakeAt <= now {
                notifyReady()
            } else {
                clock.schedule(at: times.wakeAt) { [weak self] in self?.notifyReady() }
            }
        }
        if !request(command, seconds: seconds, ended) { ended(.failure(.closed)) }
    }

    private func dropOld() {
        let now = clock.now()
        release(state.withLock { $0.polled.expire(now: now) })
    }

    private typealias Received =
        @Sendable (Result<[(message: ReceivedMessage, group: UInt64)], ShardError>) -> Void

    /// - Returns: `false` if the shard is closed; nothing was asked for, and no completion comes.
    private func request(_ command: ReceiveCommand, seconds: Int, _ completion: @escaping Received) -> Bool {
        guard begin() else { return false }
        let request = ClientRequest.receive(
            limit: command.limit, visibilitySeconds: visibilitySeconds(command), waitSeconds: seconds,
            attemptID: command.attemptID, from: client.address.queueURL)
        let timeout = seconds * 1_000 + QueueShard.requestMilliseconds
        client.perform(request, timeoutMilliseconds: timeout) { [self] result in
            afterTheCall(result) { [self] in
                completion(taken(result))
                end()
            }
        }
        return true
    }

    private func taken(
        _ result: Result<[UInt8], AWSError>
    ) -> Result<[(message: ReceivedMessage, group: UInt64)], ShardError> {
        switch result {
        case .failure(let error): return .failure(error.asShardError)
        case .success(let body):
            // What does not hold is not handed on; it comes back when its visibility timeout ends.
            guard let received = try? ReceivedMessages(body, tag: tag) else {
                return .failure(.unavailable(retryAfterMilliseconds: 1_000))
            }
            let (now, wall) = (clock.now(), clock.wallTime())
            client.counts.received(received.messages.count + received.damaged.count)
            let new = state.withLock { state in
                state.counts.received += received.messages.count
                for entry in received.messages {
                    guard let sentAt = entry.message.remote?.sentAt else { continue }
                    state.ages.received(sentAt: sentAt, wall: wall, now: now)
                }
                state.counts.damaged = (state.counts.damaged ?? 0) + received.damaged.count
                return state.damaged.note(received.damaged)
            }
            if !new.isEmpty, let report = callbacks.withLock({ $0.report }) {
                for id in new { report(.damaged(id)) }
            }
            return .success(received.messages)
        }
    }

    /// Makes messages visible again, in this order, also while the shard closes.
    func release(_ messages: [ReceivedMessage], then: @escaping @Sendable () -> Void = {}) {
        guard !messages.isEmpty else { return then() }
        let first = Array(messages.prefix(10))
        let rest = Array(messages.dropFirst(10))
        let entries = first.map { ClientRequest.HandleEntry(handle: $0.handle.remote?.text ?? "", seconds: 0) }
        let request = ClientRequest.changeVisibility(entries, in: client.address.queueURL)
        client.perform(request, timeoutMilliseconds: QueueShard.requestMilliseconds) { [self] _ in
            release(rest, then: then)
        }
    }

    private func notifyReady() { callbacks.withLock { $0.ready }?() }
}
