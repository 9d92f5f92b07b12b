// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
import QueuePoolCore

@testable import QueuePoolEmbedded

/// The turns of one process's stores, given by a clock on the thread that runs it.
/// - Important: used by the thread of the simulation only. That is what makes it Sendable.
final class VirtualCommitLine: CommitLine, @unchecked Sendable {
    private static let tickMilliseconds: Int64 = 1_000

    private let clock: any Clock
    private let delay: @Sendable () -> Int64
    private var queue: Deque<(ticket: Int, store: Store)> = []
    private var nextTicket = 0
    private var members: [Store] = []
    private var isStopped = false
    private(set) var tickCount = 0

    /// - Parameter delay: asked for every turn: how many milliseconds it comes after it was asked for. A slow disk is one
    ///   with long delays.
    init(clock: any Clock, delay: @escaping @Sendable () -> Int64 = { 0 }) {
        self.clock = clock
        self.delay = delay
        tick()
    }

    /// The process ended: nobody has a turn any more.
    func stop() {
        isStopped = true
        queue = []
        members = []
    }

    func add(_ store: Store) { if !members.contains(where: { $0 === store }) { members.append(store) } }

    func remove(_ store: Store) { members.removeAll { $0 === store } }

    func schedule(_ store: Store) {
        guard !isStopped else { return }
        let ticket = nextTicket
        nextTicket += 1
        queue.append((ticket, store))
        clock.schedule(afterMilliseconds: delay()) { [weak self] in self?.run(ticket) }
    }

    func beginWaiting() {}
    func endWaiting() {}

    /// Gives the turns that are in line at once, because nobody else would while this thread waits.
    func wait(until isDone: DispatchSemaphore) {
        while !isStopped, isDone.wait(timeout: .now()) == .timedOut {
            guard let next = queue.popFirst() else {
                preconditionFailure("nobody is in line for the turn that is waited for")
            }
            next.store.turn()
        }
    }

    private func run(_ ticket: Int) {
        // It may have had the turn already, while somebody waited.
        guard let place = queue.firstIndex(where: { $0.ticket == ticket }) else { return }
        queue.remove(at: place).store.turn()
    }

    private func tick() {
        clock.schedule(afterMilliseconds: VirtualCommitLine.tickMilliseconds) { [weak self] in
            guard let self, !isStopped else { return }
            tickCount += 1
            for store in members { store.pokeAll() }
            tick()
        }
    }
}
