// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolEpoll
import Glibc
import QueuePoolChecking
import QueuePoolCore

// The load client: one thread, one epoll set, blocking on nothing else. Not NIO: client and server share the machine's
// cores, and a NIO client spends about as much CPU on a request as the server under test, so half of what is measured
// would be the client. wrk, at about 10 us a request, is the yardstick: a request here is a few patched bytes, one
// `send`, one `recv`, and a scan of the answer. Nothing is allocated for it once the buffers have their size.
// The loop owns every connection, the checker and the counts; none of them may be touched from another thread.

/// Drives the connections of a run through its phases.
final class LoadLoop {
    let plan: LoadPlan
    let filler: [UInt8]
    var checker: LoadChecker
    var outcome = PhaseOutcome()
    var phase = LoadPhase(name: "none")
    var random: SplitMix64
    var connections: [Connection] = []
    var schedule: OpenLoopSchedule?
    var requestsLeft = Int.max
    var mayStart = false
    var windowIsOpen = false
    var verdicts: [Verdict]
    var deleteVerdicts: [Verdict] = []
    var received: [ReceivedMessage] = []
    var handles: [UnsafeRawBufferPointer] = []
    var busySenders = 0
    var busyDeleters = 0
    var busyReceivers = 0
    var lastProgressAt: UInt64 = 0
    var lastDelivered = 0
    var outages = Outages()
    /// Which groups are sent, when they are not sent alike.
    var lines: GroupLines?
    /// Accepted messages of the window by group.
    var groupCounts: [UInt32]
    /// When the loop saw that the run was interrupted.
    private var interruptedAt: UInt64?
    /// End of the window.
    var closedAt: UInt64 = 0
    /// When connections are looked at for answers that are late.
    var watchDue: UInt64 = 0
    var lastAnswerAt: UInt64 = 0
    /// Rows of figures while the load goes on, if asked for.
    var rows: IntervalRows?
    /// The window in intervals, for the report; `nil` when it is not open.
    var timeline: Timeline?
    private var windowStart: UInt64 = 0
    private var windowEnd = UInt64.max
    private var clientCPUAtStart: UInt64 = 0
    private var usageAtStart: ProcessUsage?
    private var shardUsageAtStart: ProcessUsage?
    private var machineBusyAtStart: UInt64?
    let epoll: Int32
    let timer: Int32
    var timerSetFor = UInt64.max
    let events = UnsafeMutablePointer<qp_ready>.allocate(capacity: LoadLoop.eventsMax)
    static let eventsMax = 256
    /// How long an interrupted run waits for the answers of its sends.
    private static let interruptedNanosecondsMax: UInt64 = 2_000_000_000
    static let timerTag = UInt64.max

    init(plan: LoadPlan) throws {
        self.plan = plan
        let options = plan.options
        filler = Payload.filler(bodyBytes: options.bodyBytes, seed: plan.seed)
        checker = LoadChecker(groups: options.groups)
        random = SplitMix64(seed: plan.seed)
        groupCounts = Array(repeating: 0, count: options.groups)
        if options.skew != .uniform { lines = GroupLines(options) }
        verdicts = Array(repeating: .unanswered, count: options.batchSize)
        epoll = qp_epoll_new()
        timer = qp_timer_new()
        guard epoll >= 0, timer >= 0 else { throw SocketError(call: "epoll_create", code: errno) }
        qp_epoll_add(epoll, timer, LoadLoop.timerTag, 0)
        rows = IntervalRows(options.intervalSeconds, now: monotonicNanoseconds())
        try makeConnections()
    }

    deinit {
        events.deallocate()
        close(timer)
        close(epoll)
    }

    /// Runs one phase to its end, or until the run is interrupted or the server stays away.
    func run(_ next: LoadPhase) -> PhaseOutcome {
        phase = next
        outcome = PhaseOutcome()
        outcome.rate = next.sends == nil ? nil : next.rate
        begin(now: monotonicNanoseconds())
        while !isFinished {
            armTimer()
            poll()
            let now = monotonicNanoseconds()
            tick(now)
            if Interruption.isRequested, interruptedAt == nil { interrupt(now) }
            wakeDue(now)
            watch(now)
            if let due = rows?.due, now >= due { printRow(now) }
            if let due = timeline?.due, now >= due { closeInterval(now) }
        }
        closeWindow(monotonicNanoseconds())
        recordWaits()
        guard interruptedAt == nil else {
            outcome.isInterrupted = true
            return outcome
        }
        guard !outages.isAway else { return outcome }
        outcome.isDrained = phase.receives && checker.outstanding <= 0
        collectReceives()
        return outcome
    }

    /// As `run`, for a phase that says nothing when it is cut short.
    /// - Throws: `BenchInterrupted`, `BenchFailure` when the server cannot be reached any more.
    func runWhole(_ next: LoadPhase) throws -> PhaseOutcome {
        let outcome = run(next)
        if outages.isAway { throw BenchFailure("the server cannot be reached any more") }
        if outcome.isInterrupted { throw BenchInterrupted() }
        return outcome
    }

    /// Starts nothing more. Sends under way are waited for, so that what was acknowledged is counted; long polls are not.
    private func interrupt(_ now: UInt64) {
        interruptedAt = now
        closeWindow(now)
        mayStart = false
        for connection in connections { connection.wakeAt = .max }
    }

    /// Waits for the long polls that found nothing more. A poll left behind could take another run's messages and hold
    /// their groups until the visibility timeout.
    private func collectReceives() {
        mayStart = false
        // A receive has ten messages, of one group at worst.
        let handling = UInt64(plan.options.handlerMilliseconds ?? 0) * 10_000_000
        let patience = UInt64(plan.options.waitSeconds + 5) * 1_000_000_000 + handling
        let deadline = monotonicNanoseconds() + patience
        while busyReceivers > 0 || busyDeleters > 0, monotonicNanoseconds() < deadline {
            poll()
            let now = monotonicNanoseconds()
            wakeDue(now)
            watch(now)
        }
    }

    private func begin(now: UInt64) {
        mayStart = true
        lastProgressAt = now
        requestsLeft = Int.max
        schedule = nil
        windowStart = now + UInt64(phase.warmUpSeconds * 1e9)
        windowEnd = .max
        windowIsOpen = false
        lines?.unparkAll()
        switch phase.sends {
        case .requests(let count): requestsLeft = count
        case .seconds(let seconds): windowEnd = windowStart + UInt64(seconds * 1e9)
        case nil: break
        }
        if phase.sends != nil, let rate = phase.rate {
            schedule = OpenLoopSchedule(start: now, messagesPerSecond: rate, batch: plan.options.batchSize)
        }
        for connection in connections where connection.step == .idle {
            connection.arrival = connection.index
            let takesPart = connection.role == .sender ? phase.sends != nil : phase.receives
            connection.wakeAt = takesPart ? now : .max
        }
        if phase.warmUpSeconds == 0 { openWindow(now) }
    }

    private var isFinished: Bool {
        if outages.isAway { return true }
        if let interruptedAt {
            return busySenders == 0 || monotonicNanoseconds() - interruptedAt > LoadLoop.interruptedNanosecondsMax
        }
        if phase.sends != nil {
            if mayStart { return false }
            return busySenders == 0 && busyReceivers == 0 && busyDeleters == 0
        }
        if checker.outstanding <= 0, busyDeleters == 0 { return true }
        if outages.since != nil { return false }
        let silence = monotonicNanoseconds() - lastProgressAt
        return silence > UInt64(plan.options.drainTimeoutSeconds * 1e9)
    }

    /// Opens and closes the window, and ends the starts of new requests.
    private func tick(_ now: UInt64) {
        if !windowIsOpen, mayStart, now >= windowStart { openWindow(now) }
        guard mayStart, phase.sends != nil else { return }
        let sentAll = requestsLeft <= 0 && busySenders == 0
        if now >= windowEnd || sentAll {
            closeWindow(now)
            mayStart = false
            for connection in connections where !connection.isRetry && connection.step == .idle {
                connection.wakeAt = .max
            }
        }
    }

    private func openWindow(_ now: UInt64) {
        windowIsOpen = true
        windowStart = now
        outcome.statistics = PhaseStatistics()
        timeline = Timeline(now: now, phase)
        for group in groupCounts.indices { groupCounts[group] = 0 }
        clientCPUAtStart = ownCPUNanoseconds()
        usageAtStart = plan.serverUsage()
        shardUsageAtStart = plan.shardUsage()
        machineBusyAtStart = MachineUsage.busyNanoseconds()
    }

    private func closeWindow(_ now: UInt64) {
        guard windowIsOpen else { return }
        windowIsOpen = false
        windowStart = min(windowStart, now)
        outcome.nanoseconds = now - windowStart
        closeInterval(now)
        outcome.intervals = timeline?.intervals ?? []
        timeline = nil
        outcome.backlog = max(0, checker.outstanding)
        countArrivals(now)
        outcome.hottest = groupCounts.indices.max { groupCounts[$0] < groupCounts[$1] }.map {
            (group: $0, messages: Int(groupCounts[$0]))
        }
        outcome.clientCPUNanoseconds = ownCPUNanoseconds() - clientCPUAtStart
        let usage = plan.serverUsage()
        outcome.residentBytes = usage?.residentBytes
        outcome.serverCPUNanoseconds = usage?.cpuNanoseconds(since: usageAtStart)
        outcome.machineCPUNanoseconds = MachineUsage.busyNanoseconds().flatMap { end in
            machineBusyAtStart.map { end - min($0, end) }
        }
        outcome.shardCPUNanoseconds = plan.shardUsage()?.cpuNanoseconds(since: shardUsageAtStart)
    }

    /// Whether a send belongs to the window although its answer came after the end: in an open loop the slowest answers
    /// are those still outstanding at the end, and leaving them out would flatter the tail.
    func countsLate(_ startedAt: UInt64) -> Bool {
        schedule != nil && !windowIsOpen && outcome.nanoseconds > 0 && startedAt >= windowStart
            && startedAt < windowStart + outcome.nanoseconds
    }

    private func wakeDue(_ now: UInt64) {
        for connection in connections where connection.wakeAt <= now {
            connection.wakeAt = .max
            proceed(connection, now: now)
        }
    }

    private func armTimer() {
        var next = windowIsOpen ? windowEnd : min(windowStart, windowEnd)
        if !mayStart { next = .max }
        if let due = rows?.due { next = min(next, due) }
        if let due = timeline?.due { next = min(next, due) }
        for connection in connections where connection.wakeAt < next { next = connection.wakeAt }
        guard next < timerSetFor else { return }
        timerSetFor = next
        qp_timer_set(timer, next)
    }
}
