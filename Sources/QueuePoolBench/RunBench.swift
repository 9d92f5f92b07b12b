// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking
import QueuePoolCore

// One measurement from start to end: a server of our own or a given one, the phases of the mode, the report. A drain
// follows the sends unless it is switched off: only an empty pool proves that nothing was lost.

/// Runs a measurement. Blocks the calling thread until it is over; call it from a thread of its own, not from a task.
/// - Parameters:
///   - version: written into the report.
///   - progress: told the name of each phase as it begins, and of outages.
///   - row: takes the rows of figures while the load goes on, their header first.
/// - Throws: `InvalidBenchOption`, `PoolUnfit`, `BenchFailure` when the server cannot be started or reached.
package func runBench(
    _ options: BenchOptions, version: String = "unknown", progress: @escaping (String) -> Void = { _ in },
    row: @escaping (String) -> Void = { _ in }
) throws -> BenchReport {
    do {
        return try runBench(validated: options.validated(), version: version, progress: progress, row: row)
    } catch let error as SocketError {
        throw BenchFailure(error.description)
    }
}

private func runBench(
    validated options: BenchOptions, version: String, progress: @escaping (String) -> Void,
    row: @escaping (String) -> Void
) throws -> BenchReport {
    let server = options.endpoint == nil ? try ServerProcess(options) : nil
    let session = try BenchSession(options, server: server, tell: progress, row: row)
    if options.intervalSeconds != nil { row(IntervalRows.header) }
    let phases = session.run(progress)
    return session.report(phases, version: version, exitCode: server?.stop())
}

/// One run against a server that is up.
struct BenchSession {
    let options: BenchOptions
    let plan: LoadPlan
    let loop: LoadLoop
    let machine = Machine.current()

    init(
        _ given: BenchOptions, server: ServerProcess?, tell: @escaping (String) -> Void,
        row: @escaping (String) -> Void
    ) throws {
        var options = given
        let endpoint = try server?.endpoint ?? Endpoint(given.endpoint ?? "", token: given.token)
        let facts = try BenchSession.pool(options, endpoint)
        if !facts.shardNames.isEmpty { options.shards = facts.shardNames.count }
        if options.retryThrottled == nil, facts.quota != nil { options.retryThrottled = true }
        let seed = options.seed ?? monotonicNanoseconds() ^ UInt64(getpid()) << 32
        var runs = SplitMix64(seed: seed ^ monotonicNanoseconds())
        let pid = server?.pid ?? options.serverPID
        self.options = options
        var plan = LoadPlan(
            options: options, endpoint: endpoint, seed: seed, run: runs.next(), shardNames: facts.shardNames,
            placement: BenchSession.placement(options, facts),
            serverUsage: { pid.flatMap { ProcessUsage(pid: $0) } })
        plan.tell = tell
        plan.row = row
        if server == nil { plan.outageSecondsMax = options.outageSecondsMax }
        self.plan = plan
        loop = try LoadLoop(plan: plan)
    }

    /// The phases; when the run is interrupted or the server stays away, those that ran.
    func run(_ progress: (String) -> Void) -> [PhaseReport] {
        var reports: [PhaseReport] = []
        func add(_ phase: LoadPhase) {
            guard reports.last?.isInterrupted != true, !loop.outages.isAway else { return }
            progress(phase.name)
            reports.append(PhaseReport(phase.name, loop.run(phase), batch: options.batchSize))
            if phase.name == options.mode.rawValue, phase.sends != nil {
                measuredShards.value = loop.outcome.statistics.shards
            }
        }
        switch options.mode {
        case .drain:
            let messages = options.messages ?? 100_000
            add(LoadPhase(name: "fill", sends: .requests(requests(messages))))
            measuredShards.value = loop.outcome.statistics.shards
            add(LoadPhase(name: "drain", receives: true, handles: options.handlerMilliseconds != nil))
            return reports
        case .send, .both:
            let isBoth = options.mode == .both
            if options.messages != nil, options.warmUpSeconds > 0 {
                add(
                    LoadPhase(
                        name: "warm-up", sends: .seconds(options.warmUpSeconds), receives: isBoth,
                        handles: isBoth && options.handlerMilliseconds != nil))
            }
            let sends: LoadPhase.Sends = options.messages.map { .requests(requests($0)) } ?? .seconds(options.seconds)
            add(
                LoadPhase(
                    name: options.mode.rawValue, sends: sends, receives: isBoth,
                    handles: isBoth && options.handlerMilliseconds != nil,
                    warmUpSeconds: options.messages == nil ? options.warmUpSeconds : 0, rate: options.rate))
        }
        if options.verify { add(LoadPhase(name: "verify", receives: true)) }
        return reports
    }

    /// - Parameters:
    ///   - options: what the report is judged by, when it is not what the run was given.
    ///   - checks: what the checks say, when they are known already.
    func report(
        _ phases: [PhaseReport], version: String, exitCode: Int32?, options judged: BenchOptions? = nil,
        checks: CheckReport? = nil
    ) -> BenchReport {
        let isInterrupted = phases.contains(where: \.isInterrupted)
        let isDrained = (options.verify || options.mode == .drain) && !isInterrupted && !loop.outages.isAway
        let counts = measuredShards.value
        let names = plan.shardNames.isEmpty ? counts.indices.map { "shard \($0)" } : plan.shardNames
        return BenchReport(
            options: judged ?? options, machine: machine, version: version, seed: plan.seed, run: plan.run,
            phases: phases, checks: checks ?? loop.checker.finished(drained: isDrained),
            outages: OutageReport(loop.outages, now: monotonicNanoseconds()),
            shards: names.enumerated().map { ($1, $0 < counts.count ? counts[$0] : 0) },
            shardsFromAnswers: options.api != .sqs, serverExitCode: exitCode)
    }

    private let measuredShards = Box<[Int]>([])

    private func requests(_ messages: Int) -> Int { (messages + options.batchSize - 1) / options.batchSize }

    /// The pool's facts; the pool is made when it is not there.
    private static func pool(_ options: BenchOptions, _ endpoint: Endpoint) throws -> PoolFacts {
        let client = ControlClient(endpoint: endpoint)
        let path = "/v1/pools/\(options.pool)"
        var answer = try client.getAdmitted(path)
        if answer.status == 404 {
            let quota = options.quota.map { ",\"quota\":\($0)" } ?? ""
            answer = try client.post(
                "/v1/pools", json: "{\"name\":\"\(options.pool)\",\"shards\":\(options.shards)\(quota)}")
        }
        if [401, 403].contains(answer.status) { throw BenchRefused(status: answer.status) }
        guard (200..<300).contains(answer.status) else {
            throw BenchFailure("the pool cannot be read or made: HTTP status \(answer.status)")
        }
        let facts = PoolFacts(answer.body)
        if options.endpoint != nil {
            try facts.requireQuota(options.quota, options.pool)
            try facts.requireEmpty(options.pool, unless: options.allowsNonempty)
        }
        return facts
    }

    /// The ring's shard of each group. Only for a pool that was never resized: later epochs cannot be computed.
    static func placement(_ options: BenchOptions, _ facts: PoolFacts) -> [UInt16] {
        guard facts.epoch == 1, let name = PoolName(options.pool), options.groups <= 1_000_000,
            let topology = try? Topology(pool: name, shardCount: options.shards)
        else { return [] }
        return (0..<options.groups).map {
            let hash = XXHash64.hash(SendTemplate.groupID($0))
            return UInt16(truncatingIfNeeded: topology.shard(ofGroupHash: hash).number)
        }
    }
}

/// A place for a value that a struct fills in while it runs.
private final class Box<Value> {
    var value: Value
    init(_ value: Value) { self.value = value }
}
