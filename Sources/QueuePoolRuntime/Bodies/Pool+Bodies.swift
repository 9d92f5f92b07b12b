// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSQS
import Synchronization

/// Whose pointers a receiver wants to have replaced by the bodies.
package enum BodyReach: Hashable, Sendable {
    /// Those of bodies in files of the server's own, which nobody else can read. Others stay, for clients that read them.
    case own
    case all
}

extension Pool {
    /// What the pool's doors let pass beyond a queue's limit; `nil` if it has no place for large bodies, or a limit of its
    /// own that is lower than a queue can have.
    package var bodyRules: BodyRules? { bodySending?.rules }

    var bodySending: BodySending? {
        guard let options = bodyOptions else { return nil }
        let place = bodyPlace
        guard let store = place.store, place.messageBytesMax >= QueueLimits.messageBytesMax else { return nil }
        let isEmbedded = store.bucket == BodyPointer.embeddedBucket
        let usual = isEmbedded ? QueueLimits.messageBytesMax : BodyOptions.sqsThresholdBytes
        let rules = BodyRules(
            thresholdBytes: options.thresholdBytes ?? usual, limitBytes: options.limitBytes,
            attributesMax: isEmbedded ? .max : QueueLimits.attributesMax)
        return BodySending(store: store, rules: rules)
    }

    /// Sends the messages of a request; the bodies among them that are too large for a queue are stored first.
    /// - Parameter passedOn: called once the shards have been handed everything: a request whose messages come after these
    ///   may be sent then. Within this call if nothing had to be stored.
    package func send(_ request: SendRequest, passedOn: @escaping @Sendable () -> Void = {}) {
        var request = request
        if let tracking, isRemote.load(ordering: .relaxed) {
            request = request.noting { [tracking, name] message, receipt in
                tracking.queued(message, receipt, ofPool: name)
            }
        }
        // Nearly all are small: no more is looked at then.
        let smallest = min(bodyOptions?.thresholdBytes ?? .max, BodyOptions.sqsThresholdBytes)
        if request.entries.contains(where: { $0.message.byteCount > smallest }), let sending = bodySending,
            request.entries.contains(where: { sending.takes($0.message) })
        {
            sending.prepare(request, router) { [router] request in
                if !request.isEmpty { router.send(request) }
                passedOn()
            }
        } else {
            router.send(request)
            passedOn()
        }
    }

    // MARK: - Receiving

    /// Puts bodies in place of pointers, and gives back what is not handed out.
    func expand(
        _ messages: [ReceivedMessage], _ reach: BodyReach, in shard: PoolShard?,
        _ completion: @escaping @Sendable ([ReceivedMessage]) -> Void
    ) {
        // Most answers have no message that could be a pointer, and pay for nothing more than this look.
        guard let options = bodyOptions, messages.contains(where: BodyResolver.mayPoint) else {
            return completion(messages)
        }
        let definition = snapshot.definition
        let resolver = BodyResolver(
            place: { pointer in
                guard reach == .all || pointer.bucket == BodyPointer.embeddedBucket else { return nil }
                return options.place(definition, pointer)
            }, bodyBytesMax: max(options.limitBytes, BodyOptions.bodyBytesMax),
            answerBytesMax: options.answerBytesMax)
        resolver.resolve(messages) { [self] resolved in
            for _ in resolved.missing { options.counters.countMissing() }
            for _ in resolved.unread { options.counters.countFailed() }
            if !resolved.missing.isEmpty { options.report(name, resolved.missing.map(\.messageID)) }
            if !resolved.left.isEmpty {
                noteLeft(behind: resolved.messages.count)
                changeVisibility(resolved.left.reversed().map { (handle: $0.handle, seconds: 0) }, in: shard) { _ in }
            }
            completion(resolved.messages)
        }
    }

    /// For how long receives ask for less once something had to be given back.
    private static let smallLimitMilliseconds: Int64 = 60_000

    /// Each delivery that is given back was counted: the next receives take no more than was handed out.
    private func noteLeft(behind count: Int) {
        let until = Timestamp(milliseconds: clock.now().milliseconds + Pool.smallLimitMilliseconds)
        smallLimit.withLock { $0 = (max(1, count), until) }
    }

    /// Messages that a receive may ask for now.
    func receiveLimit(_ now: Timestamp) -> Int {
        smallLimit.withLock { small in
            guard let (limit, until) = small else { return .max }
            guard now < until else {
                small = nil
                return .max
            }
            return limit
        }
    }

    // MARK: - Removing

    /// Deletes by receipt handles, and then the bodies of those that were deleted; one outcome for each, in order.
    /// - Parameters:
    ///   - bodies: where the body of each lies; `nil` for one that the queue holds itself.
    ///   - shard: handles of other shards are not accepted; `nil` for the whole pool.
    package func delete(
        _ handles: [ReceiptHandle], bodies: [BodyPointer?], reach: BodyReach = .own, in shard: PoolShard? = nil,
        completion: @escaping @Sendable ([DeleteOutcome]) -> Void
    ) {
        guard let options = bodyOptions, bodies.contains(where: { $0 != nil }) else {
            return delete(handles, in: shard, completion: completion)
        }
        let definition = snapshot.definition
        delete(handles, in: shard) { outcomes in
            for (outcome, pointer) in zip(outcomes, bodies) {
                guard case .deleted = outcome, let pointer, reach == .all || pointer.isOwn else { continue }
                // One that stays is removed when its lifetime is over.
                options.place(definition, pointer)?.remove(key: pointer.key) { _ in }
            }
            completion(outcomes)
        }
    }

    /// Removes the bodies of a pool all of whose messages were removed. Those of a pool with a dead-letter queue stay until
    /// their lifetime is over: they may be of messages that are there now.
    func removeBodies(before time: Timestamp) {
        let snapshot = self.snapshot
        guard snapshot.attributes.redrive == nil, snapshot.bodyStore != nil else { return }
        bodyOptions?.removeAll(snapshot.definition, time)
    }
}

extension BodyPointer {
    /// Whether the body lies in a file of the server's own.
    fileprivate var isOwn: Bool { bucket == BodyPointer.embeddedBucket }
}

extension BodyOptions {
    /// The largest body that is read, whatever the limit for new ones is now.
    static let bodyBytesMax = 64 << 20
}
