// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization
import Testing

@testable import QueuePoolWorker

/// A store whose answers a test decides.
private final class AnswersOfBodies: BodyStore {
    let bucket = "b"
    private let answer: Result<[UInt8], BodyStoreError>
    private let queue = DispatchQueue(label: "queuepool.tests.bodies")
    /// Removals that wait for their end.
    private let removals = Mutex<(keys: [String], ends: [@Sendable (Result<Void, BodyStoreError>) -> Void])>(([], []))
    private let asked = Mutex<[Int]>([])

    init(_ answer: Result<[UInt8], BodyStoreError>) { self.answer = answer }

    var removed: [String] { removals.withLock { $0.keys } }
    /// The limits of the reads.
    var limits: [Int] { asked.withLock { $0 } }

    func newKey() -> String { "k" }

    func put(_ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        queue.async { completion(.success(())) }
    }

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        asked.withLock { $0.append(bytesMax) }
        queue.async { [answer] in completion(answer) }
    }

    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        removals.withLock { removals in
            removals.keys.append(key)
            removals.ends.append(completion)
        }
    }

    func endRemovals() {
        for end in removals.withLock({ $0.ends }) { end(.success(())) }
    }
}

/// Notes what it gets.
private final class Notebook: DeliveryTarget {
    let kind = "notebook"
    private let got = Mutex<[WorkMessage]>([])

    var messages: [WorkMessage] { got.withLock { $0 } }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        got.withLock { $0.append(message) }
        return .delivered
    }
}

private let pointer = BodyPointer(bucket: "b", key: "p/1")

private func message(in store: any BodyStore, isHere: Bool = false) -> WorkMessage {
    var message = WorkMessage(
        id: "id-1", handle: "h", group: "g", body: Array("pointer".utf8),
        attributes: [
            MessageAttribute(name: "color", text: "red"),
            MessageAttribute(name: BodyPointer.sizeAttribute, text: "4", dataType: "Number"),
        ])
    message.storedBody = StoredBody(pointer, byteCount: 4, in: store, isHere: isHere)
    return message
}

@Suite struct `A message whose body lies elsewhere` {
    @Test func `is delivered whole, without the attribute that told its size`() async {
        let store = AnswersOfBodies(.success(Array("body".utf8)))
        let target = Notebook()
        let outcome = await target.deliverWhole(message(in: store), attempt: 1) { true }
        #expect(outcome == .delivered)
        #expect(target.messages.map(\.body) == [Array("body".utf8)])
        #expect(target.messages.first?.attributes.map(\.name) == ["color"])
        #expect(store.limits == [4], "no more is read than is counted as held")
    }

    @Test func `is delivered as it is when the body is here`() async {
        let store = AnswersOfBodies(.failure(.missing))
        let target = Notebook()
        #expect(await target.deliverWhole(message(in: store, isHere: true), attempt: 1) { true } == .delivered)
        #expect(target.messages.map(\.body) == [Array("pointer".utf8)] && store.limits.isEmpty)
    }

    @Test func `is not handed over when the shard was lost while the body was read`() async {
        let target = Notebook()
        let store = AnswersOfBodies(.success([]))
        #expect(await target.deliverWhole(message(in: store), attempt: 1) { false } == .cancelled)
        #expect(target.messages.isEmpty)
    }

    @Test(arguments: [
        (BodyStoreError.missing, DeliveryOutcome.incomplete(errorClass: "body-missing", isLasting: true)),
        (.tooLarge(bytes: 5, allowed: 4), .incomplete(errorClass: "body-too-large", isLasting: true)),
        (.refused(code: "AccessDenied"), .incomplete(errorClass: "body-AccessDenied", isLasting: true)),
        (.unavailable(code: "SlowDown"), .incomplete(errorClass: "body-SlowDown", isLasting: false)),
        (.full, .incomplete(errorClass: "body-full", isLasting: false)),
    ])
    func `asks no target when its body cannot be read`(error: BodyStoreError, outcome: DeliveryOutcome) async {
        let target = Notebook()
        let store = AnswersOfBodies(.failure(error))
        #expect(await target.deliverWhole(message(in: store), attempt: 1) { true } == outcome)
        #expect(target.messages.isEmpty)
    }

    @Test func `takes its body along when it is deleted`() {
        let store = AnswersOfBodies(.success([]))
        let bodies = FinishedBodies()
        bodies.deleted(message(in: store))
        bodies.deleted(WorkMessage(id: "id-2", handle: "h", group: "g"))
        #expect(store.removed == [pointer.key] && bodies.underWay == 1)
        store.endRemovals()
        #expect(bodies.underWay == 0)
    }

    @Test func `leaves its body for the dead-letter queue, however late its delete comes`() {
        let store = AnswersOfBodies(.success([]))
        let bodies = FinishedBodies()
        bodies.moved(message(in: store))
        bodies.moved(message(in: store))
        bodies.deleted(message(in: store))
        #expect(store.removed.isEmpty && bodies.underWay == 0)
        // Redriven, it is a message like others.
        bodies.deleted(message(in: store))
        #expect(store.removed == [pointer.key])
    }

    @Test func `that was moved together with its body leaves none behind`() {
        let store = AnswersOfBodies(.success([]))
        let bodies = FinishedBodies()
        bodies.moved(message(in: store, isHere: true))
        bodies.deleted(message(in: store, isHere: true))
        #expect(store.removed == [pointer.key])
    }
}
