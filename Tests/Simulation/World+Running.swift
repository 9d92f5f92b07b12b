// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore

extension World {
    /// Runs to the end.
    /// - Returns: what was broken.
    func run() -> [Violation] {
        for router in routers { _ = router.start() }
        for sender in senders { sender.start() }
        for worker in workers { worker.start() }
        for visitor in visitors { visitor.start() }
        for fault in plan.faults {
            time.schedule(at: SimulatedTime.start + fault.at) { [self] in
                if !isQuiet { strike(fault) }
            }
        }
        let troubleEnd = time.now + plan.troubleMilliseconds
        while time.steps < plan.steps || time.now < troubleEnd, !isDone, step() {}
        calmDown()
        advance(to: time.now + World.quietMilliseconds) { [self] in isDone }
        if plan.endsCalmly, isDone { runCalmly() }
        finish()
        return checker.violations + rules.violations
    }

    func advance(to end: Timestamp, until isOver: () -> Bool) {
        while !isOver(), let at = time.nextAt, at <= end, step() {}
    }

    private func step() -> Bool {
        guard time.step() else { return false }
        if let machine, machine.disk.isHalted { end(routers[0], withPower: false, for: 500) }
        return true
    }

    var isDone: Bool { open.isEmpty && senders.allSatisfy(\.isDone) && routers.allSatisfy(\.isIdle) }

    private func finish() {
        let queued = queuedMessages
        noteRemovals(queued)
        if isDone { for router in routers { router.judgeRest() } }
        checker.finish(now: time.now, stillQueued: queued)
    }

    private var queuedMessages: Set<Int> {
        machine?.messagesOnDisk ?? Set(service?.queues.flatMap(\.queuedMessages) ?? [])
    }

    /// A deletion that was asked for may have happened though its answer was lost, with the process that gave it.
    private func noteRemovals(_ queued: Set<Int>) {
        for message in asked.sorted() where !finished.contains(message) && !queued.contains(message) {
            note("removed", message, 0)
            tellOfStaleHand(message)
            finish(message) { checker.removed(message: $0, now: time.now) }
        }
    }

    // MARK: - Faults

    private func strike(_ fault: Fault) {
        note("fault", Fault.Kind.allCases.firstIndex(of: fault.kind) ?? 0, fault.subject)
        let router = routers[fault.subject % routers.count]
        let worker = workers[fault.subject % workers.count]
        let target = targets[fault.subject % targets.count]
        switch fault.kind {
        case .routerCrashes:
            guard router.host.isAlive else { return }
            end(router, withPower: false, for: fault.length)
        case .powerFails:
            guard router.host.isAlive else { return }
            end(router, withPower: true, for: fault.length)
        case .processEndsInCommit: machine?.disk.faults.operationToHaltAt = 1 + fault.strength % 8
        case .diskFailsWrite: machine?.disk.faults.writeToFail = 1 + fault.strength % 4
        case .diskFailsFlush: machine?.disk.faults.flushToFail = 1 + fault.strength % 4
        case .diskIsFull:
            machine?.disk.bytesMax = 0
            time.schedule(after: fault.length) { [self] in machine?.disk.bytesMax = 1 << 40 }
        case .diskIsSlow:
            machine?.slowness = Int64(fault.strength) * 20
            time.schedule(after: fault.length) { [self] in machine?.slowness = 0 }
        case .routerPauses:
            // What a service gave to a router that stands still waits there, and its visibility timeout runs: nobody knows
            // that an answer took more than half of one to be read.
            let most = plan.isRemote ? Int64(plan.visibilitySeconds) * 250 : .max
            router.host.pause(milliseconds: min(fault.length, most))
        case .routerIsCutOff: cutOff(router.host, fault)
        case .workerCrashes:
            guard worker.host.isAlive else { return }
            worker.crash()
            checker.workerEnded(worker.host.number)
            time.schedule(after: fault.length) { [self] in revive(worker) }
        case .workerStops:
            guard worker.host.isAlive else { return }
            worker.stop(graceMilliseconds: Int64(fault.strength) * 100) { [self] in
                time.schedule(after: fault.length) { [self] in revive(worker) }
            }
        case .workerPauses: worker.host.pause(milliseconds: fault.length)
        case .workerIsCutOff: cutOff(worker.host, fault)
        case .wireLoses:
            wire.loss = fault.strength / 2
            time.schedule(after: fault.length) { [self] in wire.loss = 0 }
        case .targetIsDown: change(target, fault) { $0.isDown = true }
        case .targetHangs: change(target, fault) { $0.hangs = fault.strength }
        case .targetRefuses: change(target, fault) { $0.refusesNow = fault.strength }
        case .queueThrottles: change(fault) { $0.throttled = fault.strength }
        case .queueIsUnavailable: change(fault) { $0.unavailable = fault.strength }
        case .queueFailsEntries: change(fault) { $0.failedEntries = fault.strength }
        case .queueRefusesEntries: change(fault) { $0.refusedEntries = fault.strength }
        case .queueDelaysSends: change(fault) { $0.delayedSends = fault.strength }
        case .queueDamagesMessages: change(fault) { $0.damagedMessages = fault.strength }
        case .queueFails: change(fault) { $0.internalFailure = fault.strength }
        case .queueLosesRequests: change(fault) { $0.lostRequests = fault.strength }
        case .queueLosesAnswers: change(fault) { $0.lostAnswers = fault.strength }
        case .queueIsSlow: change(fault) { $0.slowness = Int64(fault.strength) * 150 }
        }
    }

    private func cutOff(_ host: Host, _ fault: Fault) { wire.cutOff[ObjectIdentifier(host)] = time.now + fault.length }

    private func change(_ target: SimulatedTarget, _ fault: Fault, _ change: (inout TargetMood) -> Void) {
        change(&target.mood)
        time.schedule(after: fault.length) { target.mood = .good }
    }

    private func change(_ fault: Fault, _ change: (inout QueueWeather) -> Void) {
        guard let service else { return }
        let place = fault.subject % service.weather.count
        change(&service.weather[place])
        time.schedule(after: fault.length) { service.weather[place] = .fair }
    }

    /// Ends a router's process.
    /// - Parameter withPower: the machine loses its power with it, and what it had not flushed.
    private func end(_ router: SimulatedRouter, withPower: Bool, for length: Int64) {
        isAnyRouterRestarted = true
        router.crash()
        if machine != nil { rules.serverEnded() }
        machine?.end(withPower: withPower)
        time.schedule(after: length) { [self] in revive(router) }
    }

    private func revive(_ router: SimulatedRouter) {
        guard !router.host.isAlive else { return }
        router.host.start(offset: clockOffset() + clockJump())
        if router.start() {
            openedAt = time.now
            if machine != nil {
                noteRemovals(queuedMessages)
                deleteWithOldHandles()
            }
            return
        }
        // What it has opened of the disk is not the next attempt's.
        router.host.crash()
        machine?.end(withPower: false)
        time.schedule(after: 1_000) { [self] in revive(router) }
    }

    private func revive(_ worker: SimulatedWorker) {
        guard !worker.host.isAlive else { return }
        worker.host.start(offset: clockOffset())
        worker.start()
    }

    private func calmDown() {
        isQuiet = true
        note("quiet", 0, 0)
        checker.faultsStopped(now: time.now)
        calmAt = time.now + 100_000
        wire.loss = 0
        wire.cutOff = [:]
        for target in targets { target.mood = .good }
        if let service { for place in service.weather.indices { service.weather[place] = .fair } }
        if let machine {
            machine.calmDown()
            // What a failed flush closed opens again when somebody starts the server again.
            if machine.isAnyStoreClosed, routers[0].host.isAlive { end(routers[0], withPower: false, for: 0) }
        }
        for router in routers { revive(router) }
        for worker in workers { revive(worker) }
    }
}
