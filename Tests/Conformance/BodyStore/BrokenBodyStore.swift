// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization
import Testing

/// A sound store, in memory.
final class MemoryBodyStore: BodyStore {
    private struct State {
        var bodies: [String: [UInt8]] = [:]
        var lastKey = 0
    }

    private let state = Mutex(State())
    private let queue = DispatchQueue(label: "queuepool.tests.bodies")

    let bucket = "memory"

    func newKey() -> String {
        state.withLock { state in
            state.lastKey += 1
            return "k\(state.lastKey)"
        }
    }

    func put(_ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        queue.async { [self] in
            guard key.hasPrefix("k") else { return completion(.failure(.refused(code: "ForeignKey"))) }
            state.withLock { $0.bodies[key] = body }
            completion(.success(()))
        }
    }

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        queue.async { [self] in
            guard let body = state.withLock({ $0.bodies[key] }) else { return completion(.failure(.missing)) }
            guard body.count <= bytesMax else {
                return completion(.failure(.tooLarge(bytes: body.count, allowed: bytesMax)))
            }
            completion(.success(body))
        }
    }

    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        queue.async { [self] in
            guard key.hasPrefix("k") else { return completion(.failure(.refused(code: "ForeignKey"))) }
            state.withLock { $0.bodies[key] = nil }
            completion(.success(()))
        }
    }
}

/// One thing that a body store may do wrong.
enum BodyFault: CaseIterable, Sendable {
    case cutsLargeBodies
    case losesEmptyBodies
    case endsAtZero
    case keepsWhatWasRemoved
    case refusesToRemoveNothing
    case refusesTheSameAgain
    case writesForeignBodies
    case removesForeignBodies
    case ignoresLimits
    case refusesWhatJustFits
    case tellsNoSize
    case repeatsKeys
    case endsWithinTheCall
    case endsTwice
    case givesAnothersBody

    /// The rules that must notice it.
    var rules: [BodyRule] {
        switch self {
        case .cutsLargeBodies, .losesEmptyBodies, .endsAtZero: [BodyRules.readBack]
        case .keepsWhatWasRemoved: [BodyRules.removal, BodyRules.again]
        case .refusesToRemoveNothing: [BodyRules.removal]
        case .refusesTheSameAgain: [BodyRules.again]
        case .ignoresLimits, .refusesWhatJustFits, .tellsNoSize: [BodyRules.limits]
        case .writesForeignBodies, .removesForeignBodies: [BodyRules.foreignKeys]
        case .repeatsKeys: [BodyRules.keys]
        case .endsWithinTheCall, .endsTwice: [BodyRules.endings]
        case .givesAnothersBody: [BodyRules.manyAtOnce, BodyRules.readBack]
        }
    }
}

/// A sound store, and what spoils one thing about it.
private final class BrokenBodyStore: BodyStore {
    private let inner: any BodyStore
    private let fault: BodyFault
    private let known = Mutex<Set<String>>([])
    private let last = Mutex("")

    init(_ inner: any BodyStore, _ fault: BodyFault) {
        self.inner = inner
        self.fault = fault
    }

    var bucket: String { inner.bucket }

    func newKey() -> String {
        let key = inner.newKey()
        guard fault == .repeatsKeys else { return key }
        return key.hasSuffix("7") ? "k7" : key
    }

    func put(_ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        var body = body
        let isNew = known.withLock { $0.insert(key).inserted }
        switch fault {
        case .cutsLargeBodies: body = Array(body.prefix(4 << 20))
        case .losesEmptyBodies where body.isEmpty: return inner.remove(key: key, completion: completion)
        case .endsAtZero: body = Array(body.prefix { $0 != 0 })
        case .writesForeignBodies where !key.hasPrefix("k"):
            return inner.put(body, key: "k" + key, completion: completion)
        case .refusesTheSameAgain where !isNew:
            return inner.remove(key: "none") { _ in completion(.failure(.refused(code: "Exists"))) }
        case .endsWithinTheCall:
            let end = DispatchSemaphore(value: 0)
            inner.put(body, key: key) { _ in end.signal() }
            end.wait()
            return completion(.success(()))
        default: break
        }
        inner.put(body, key: key, completion: completion)
    }

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        switch fault {
        case .ignoresLimits: inner.get(key: key, bytesMax: .max, completion: completion)
        case .refusesWhatJustFits:
            inner.get(key: key, bytesMax: bytesMax) { result in
                guard case .success(let body) = result, body.count == bytesMax else { return completion(result) }
                completion(.failure(.tooLarge(bytes: body.count, allowed: bytesMax)))
            }
        case .tellsNoSize:
            inner.get(key: key, bytesMax: bytesMax) { result in
                guard case .failure(.tooLarge) = result else { return completion(result) }
                completion(.failure(.tooLarge(bytes: bytesMax + 2, allowed: bytesMax)))
            }
        case .givesAnothersBody:
            let before = last.withLock { last in
                defer { last = key }
                return last
            }
            inner.get(key: before.isEmpty ? key : before, bytesMax: bytesMax, completion: completion)
        default: inner.get(key: key, bytesMax: bytesMax, completion: completion)
        }
    }

    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        switch fault {
        case .keepsWhatWasRemoved: inner.get(key: key, bytesMax: 0) { _ in completion(.success(())) }
        case .removesForeignBodies where !key.hasPrefix("k"):
            inner.get(key: key, bytesMax: 0) { _ in completion(.success(())) }
        case .refusesToRemoveNothing:
            inner.get(key: key, bytesMax: .max) { [inner] result in
                guard case .success = result else { return completion(.failure(.missing)) }
                inner.remove(key: key, completion: completion)
            }
        case .endsTwice:
            inner.remove(key: key) { result in
                completion(result)
                completion(result)
            }
        default: inner.remove(key: key, completion: completion)
        }
    }
}

@Suite(.timeLimit(.minutes(3))) struct `The rules for body stores` {
    @Test(arguments: BodyFault.allCases) func `notice a store that does not keep them`(
        fault: BodyFault
    ) async throws {
        for (number, rule) in fault.rules.enumerated() {
            let findings = try await BodyBench.run(rule, on: .inMemory) { BrokenBodyStore($0, fault) }
            #expect(!findings.all.isEmpty, "rule \(number) of this fault found nothing")
        }
    }
}
