// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking
import QueuePoolCore

// For each number of shards: as much load as goes through, open loops below it, a drain, and single sends. One load
// loop and one checker see all of it, so that a message lost in one phase is found in the next.

/// Measures every number of shards, one after the other. Blocks the calling thread.
/// - Throws: `InvalidBenchOption`, `BenchFailure`, `BenchInterrupted`; processes of the run's own have ended then.
package func runProcessScale(
    _ given: ProcessScaleOptions, version: String = "unknown", progress: (String) -> Void = { _ in }
) throws -> ProcessScaleReport {
    let options = try given.validated()
    let seed = options.scale.seed ?? monotonicNanoseconds() ^ UInt64(getpid()) << 32
    var quota = options.scale.quota
    var steps: [ProcessScaleStep] = []
    if let text = options.endpoint {
        let pid = options.serverPID
        let target = try ScaleTarget(
            router: Endpoint(text, token: options.token), pool: options.pool, allowsNonempty: options.allowsNonempty,
            routerUsage: { pid.flatMap { ProcessUsage(pid: $0) } })
        quota = target.facts.quota ?? quota
        steps.append(try ScaleMeasurement(target, options, quota: quota, seed: seed).run(progress).step(codes: []))
    } else {
        for shards in options.scale.shardCounts {
            progress("\(shards) shards: start")
            let fleet = try ShardFleet(options.fleet(shards: shards))
            defer { _ = fleet.stop() }
            let target = try ScaleTarget(fleet, pool: options.pool)
            let figures = try ScaleMeasurement(target, options, quota: quota, seed: seed).run(progress)
            steps.append(figures.step(codes: fleet.stop()))
        }
    }
    return ProcessScaleReport(
        options: options, machine: .current(), version: version, seed: seed, quota: quota, steps: steps)
}

extension ProcessScaleOptions {
    func fleet(shards: Int) -> ShardFleet.Plan {
        ShardFleet.Plan(
            pool: pool, shards: shards, quota: scale.quota, executable: scale.executable,
            dataDirectoryParent: scale.dataDirectoryParent)
    }
}

/// What is measured: a router and, where they can be reached, the servers behind it.
struct ScaleTarget {
    let router: Endpoint
    let facts: PoolFacts
    /// Where shard i answers; empty = by the router only.
    var shards: [Endpoint] = []
    let routerUsage: () -> ProcessUsage?
    var shardUsage: () -> ProcessUsage? = { nil }

    /// - Throws: `BenchFailure` when the router does not have the pool, `PoolUnfit` when it is not empty.
    init(
        router: Endpoint, pool: String, allowsNonempty: Bool = false, routerUsage: @escaping () -> ProcessUsage?
    ) throws {
        self.router = router
        self.routerUsage = routerUsage
        let answer = try ControlClient(endpoint: router).getAdmitted("/v1/pools/\(pool)")
        guard answer.status == 200 else {
            throw BenchFailure("the pool cannot be read: HTTP status \(answer.status)")
        }
        facts = PoolFacts(answer.body)
        guard !facts.shardNames.isEmpty else { throw BenchFailure("the pool has no shards") }
        try facts.requireEmpty(pool, unless: allowsNonempty)
    }

    init(_ fleet: ShardFleet, pool: String) throws {
        try self.init(router: fleet.router, pool: pool, routerUsage: { fleet.routerUsage })
        shards = fleet.endpoints
        shardUsage = { fleet.shardUsage }
    }
}

/// What one number of shards gave.
struct ScaleFigures {
    let shards: Int
    let allowedPerSecond: Double
    let rate: Double?
    let full: ProcessPhase
    let loads: [ProcessPhase]
    let latency: AddedLatency
    let checks: CheckReport
    let verdicts: [ThresholdVerdict]

    /// - Parameter codes: exit codes of the processes.
    func step(codes: [Int32?]) -> ProcessScaleStep {
        ProcessScaleStep(
            shards: shards, allowedPerSecond: allowedPerSecond, rate: rate, full: full, loads: loads, latency: latency,
            checks: checks, verdicts: verdicts, endedBadly: codes.contains { $0 != 0 })
    }
}

/// One number of shards, measured.
struct ScaleMeasurement {
    private let target: ScaleTarget
    private let options: ProcessScaleOptions
    private let bench: BenchOptions
    private let allowedPerSecond: Double
    private let quota: Int
    private let plan: LoadPlan
    private let loop: LoadLoop

    init(_ target: ScaleTarget, _ options: ProcessScaleOptions, quota: Int, seed: UInt64) throws {
        self.target = target
        self.options = options
        self.quota = quota
        let shards = target.facts.shardNames.count
        bench = try options.bench(shards: shards).validated()
        allowedPerSecond = Double(shards * quota * 10)
        var runs = SplitMix64(seed: seed ^ monotonicNanoseconds())
        var plan = LoadPlan(
            options: bench, endpoint: target.router, seed: seed, run: runs.next(), shardNames: target.facts.shardNames,
            placement: BenchSession.placement(bench, target.facts), serverUsage: target.routerUsage)
        plan.shardUsage = target.shardUsage
        plan.receiveTargets = zip(target.shards, target.facts.shardNames).map {
            ReceiveTarget(endpoint: $0, queue: $1)
        }
        self.plan = plan
        loop = try LoadLoop(plan: plan)
    }

    func run(_ progress: (String) -> Void) throws -> ScaleFigures {
        let shards = target.facts.shardNames.count
        func tell(_ phase: String) { progress("\(shards) shards: \(phase)") }
        let rate = options.scale.rate
        tell(rate.map { "\(decimal($0, places: 0)) messages/s" } ?? "as much as goes through")
        let full = try measure(load: nil)
        tell("drain")
        _ = try loop.runWhole(LoadPhase(name: "drain", receives: true))
        // A rate is one load; what it leaves of the quota is not asked for.
        let loads = try (rate == nil ? options.loads : []).map { load in
            tell("\(decimal(load * 100, places: 0)) % of the quota")
            return try measure(load: load)
        }
        tell("verify")
        _ = try loop.runWhole(LoadPhase(name: "verify", receives: true))
        let checks = loop.checker.finished(drained: true)
        tell("single sends")
        let figures = ThresholdFigures(
            measured: full.phase, isDrain: false, checks: checks,
            errors: ([full] + loads).reduce(0) { $0 + $1.phase.errors.values.reduce(0, +) },
            outageSeconds: OutageReport(loop.outages, now: monotonicNanoseconds()).seconds)
        return ScaleFigures(
            shards: shards, allowedPerSecond: allowedPerSecond, rate: rate, full: full, loads: loads,
            latency: try probe().measure(), checks: checks, verdicts: options.scale.thresholds.map(figures.verdict))
    }

    /// Sends and consumes at once; without a load at the rate that is asked for, or in a closed loop.
    private func measure(load: Double?) throws -> ProcessPhase {
        let before = try RouterTraffic.read(target.router, pool: bench.pool)
        let acknowledged = loop.checker.report.acknowledged
        let delivered = loop.checker.report.delivered
        let outcome = try loop.runWhole(
            LoadPhase(
                name: load.map { "load \(decimal($0 * 100, places: 0)) %" } ?? "full",
                sends: .seconds(bench.seconds), receives: true,
                warmUpSeconds: load == nil ? bench.warmUpSeconds : min(1, bench.warmUpSeconds),
                rate: load.map { $0 * allowedPerSecond } ?? options.scale.rate))
        let after = try RouterTraffic.read(target.router, pool: bench.pool)
        let traffic = after.flatMap { after in before.map { after - $0 } }
        return ProcessPhase(
            phase: PhaseReport(load == nil ? "full" : "load", outcome, batch: bench.batchSize), load: load,
            batchFill: traffic?[.send].fill,
            throttledSends: traffic?[.send].throttled,
            cost: cost(
                outcome, traffic, accepted: loop.checker.report.acknowledged - acknowledged,
                consumed: loop.checker.report.delivered - delivered))
    }

    /// Requests a message. The router counts over the whole phase and so do the messages it is divided by; what the
    /// client asks straight of the shards it counts within the window.
    private func cost(
        _ outcome: PhaseOutcome, _ traffic: RouterTraffic?, accepted: Int, consumed: Int
    ) -> RequestCost? {
        guard let traffic, accepted > 0, consumed > 0 else { return nil }
        func asked(_ action: RouterTraffic.Action, of messages: Int) -> Double {
            Double(traffic[action].all - traffic[action].throttled) / Double(messages)
        }
        let units = RequestCost.paidUnits(fill: traffic[.send].fill ?? 1, bodyBytes: bench.bodyBytes)
        guard !target.shards.isEmpty else {
            return RequestCost(
                sends: asked(.send, of: accepted), receives: asked(.receive, of: consumed),
                deletes: asked(.delete, of: consumed), paidUnits: units)
        }
        let statistics = outcome.statistics
        let messages = Double(statistics.delete.messages)
        guard messages > 0 else { return nil }
        return RequestCost(
            sends: asked(.send, of: accepted),
            receives: Double(statistics.receive.requests + statistics.emptyReceives) / messages,
            deletes: Double(statistics.delete.requests) / messages, paidUnits: units)
    }

    private func probe() -> AddedLatencyProbe {
        // Shard 0's groups, so that both ways end at the same server; unknown when the pool was resized.
        let groups = plan.placement.indices.filter { plan.placement[$0] == 0 }
        return AddedLatencyProbe(
            router: AddedLatencyProbe.Target(endpoint: target.router, queue: bench.pool),
            straight: target.shards.first.map {
                AddedLatencyProbe.Target(endpoint: $0, queue: target.facts.shardNames[0])
            },
            groups: groups, pairs: options.latencyPairs, pairsPerSecond: min(50, Double(quota) / 4),
            bodyBytes: bench.bodyBytes, run: plan.run ^ 1)
    }
}
