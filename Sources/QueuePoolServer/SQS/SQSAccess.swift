// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import Synchronization

/// Who asks for what, over the SQS protocol.
struct SQSAccess: Sendable {
    let caller: Caller
    let action: SQSAction

    /// What is enough on a queue; `nil` for an action that names none.
    private var actions: AccessActions? {
        switch RequiredRights.of(action) {
        case .oneOf(let actions), .oneOfInBody(let actions), .everywhere(let actions): actions
        case .nothing, .filtered, .ofAction: nil
        }
    }

    /// Whether a rule for the pool itself is enough, which is how nearly all are.
    func isAllowed(on pool: Pool) -> Bool {
        guard caller.pass != nil else { return true }
        return actions.map { caller.mayAny(of: $0, pool.name) } ?? false
    }

    func isAllowed(named queue: String, in registry: PoolRegistry) -> Bool {
        guard caller.pass != nil else { return true }
        return actions.map { caller.denial($0, named: queue, in: registry) == nil } ?? false
    }

    /// Refuses what the rules do not allow on a queue, whether it is there or not.
    /// - Parameter isNew: whether the request would make it.
    func check(_ queue: String, in registry: PoolRegistry, isNew: Bool = false) throws(SQSError) {
        guard caller.pass != nil else { return }
        let denial = caller.denial(actions ?? [], named: queue, in: registry, isNew: isNew)
        if let denial { throw denial.sqsError }
    }
}

/// The time for which something waits on a caller's account.
final class CallerStay: Sendable {
    private enum State {
        case new
        case waiting(Int)
        case over
    }

    private let pass: AccessPass
    private let state = Mutex(State.new)

    init(_ pass: AccessPass) { self.pass = pass }

    /// Calls `body` once if the caller is no longer let in before `end`.
    func onOut(_ body: @escaping @Sendable () -> Void) {
        let number = pass.onEnd(body)
        let isOver = state.withLock { state in
            if case .over = state { return true }
            state = .waiting(number)
            return false
        }
        if isOver { pass.forget(number) }
    }

    /// Nothing waits any more.
    func end() {
        let before = state.withLock { state in
            defer { state = .over }
            return state
        }
        if case .waiting(let number) = before { pass.forget(number) }
    }
}

extension PoolRegistry {
    /// The pools whose dead letters go to a queue by their redrive policies.
    func sources(of queue: Pool) -> [Pool] {
        pools.filter { $0.attributes.redrive?.deadLetterQueue == queue.name.text }
    }
}
