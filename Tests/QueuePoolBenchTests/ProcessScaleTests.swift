// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

@testable import QueuePoolBench

@Suite struct ProcessScaleTests {
    private static let page = """
        # HELP queuepool_queue_requests_total Requests.
        # TYPE queuepool_queue_requests_total counter
        queuepool_queue_requests_total{pool="bench.fifo",shard="bench-0000.fifo",action="send",outcome="done"} 90
        queuepool_queue_requests_total{pool="bench.fifo",shard="bench-0000.fifo",action="send",outcome="throttled"} 10
        queuepool_queue_requests_total{shard="bench-0001.fifo",action="send",pool="bench.fifo",outcome="unknown"} 1
        queuepool_queue_requests_total{pool="bench.fifo",shard="bench-0000.fifo",action="delete",outcome="done"} 7
        queuepool_queue_requests_total{pool="other.fifo",shard="other-0000.fifo",action="send",outcome="done"} 999
        queuepool_queue_entries_total{pool="bench.fifo",shard="bench-0000.fifo",action="send"} 505
        queuepool_topology_epoch{pool="bench.fifo"} 1
        queuepool_connections 12
        """

    @Test func `a router's requests are added up over shards and outcomes`() throws {
        let traffic = try #require(RouterTraffic(page: Self.page, pool: "bench.fifo"))
        #expect(traffic[.send] == RouterTraffic.Requests(all: 101, throttled: 10, entries: 505))
        #expect(traffic[.send].fill == 5)
        #expect(traffic[.delete].all == 7)
        #expect(traffic[.receive] == RouterTraffic.Requests())
        #expect(traffic[.receive].fill == nil)
    }

    @Test func `a phase is the difference of two readings`() throws {
        let before = try #require(RouterTraffic(page: Self.page, pool: "bench.fifo"))
        let later = Self.page.replacing("} 90", with: "} 190").replacing("} 505", with: "} 1405")
        let after = try #require(RouterTraffic(page: later, pool: "bench.fifo"))
        #expect((after - before)[.send] == RouterTraffic.Requests(all: 100, throttled: 0, entries: 900))
        #expect((after - before)[.delete].all == 0)
    }

    @Test func `a page without such counts says nothing`() {
        #expect(RouterTraffic(page: Self.page, pool: "absent.fifo") == nil)
        #expect(RouterTraffic(page: "nonsense{\nqueuepool_queue_requests_total{pool} x\n", pool: "bench.fifo") == nil)
    }

    @Test func `full batches cost a tenth of a request each way`() {
        let cost = RequestCost(sends: 0.1, receives: 0.1, deletes: 0.1)
        #expect(abs(cost.requests - 0.3) < 1e-9)
        #expect(abs(cost.dollarsPerMillionMessages - 0.15) < 1e-9)
    }

    @Test func `large requests are paid by 64 KiB`() {
        #expect(RequestCost.paidUnits(fill: 10, bodyBytes: 1_024) == 1)
        #expect(RequestCost.paidUnits(fill: 1, bodyBytes: 65_537) == 2)
        #expect(RequestCost.paidUnits(fill: 10, bodyBytes: 26_214) == 4)
        let cost = RequestCost(sends: 1, receives: 1, deletes: 1, paidUnits: 4)
        #expect(abs(cost.dollarsPerMillionMessages - 4.5) < 1e-9)
    }

    @Test func `options are checked before anything starts`() {
        func field(_ change: (inout ProcessScaleOptions) -> Void) -> String? {
            var options = ProcessScaleOptions()
            change(&options)
            do throws(InvalidBenchOption) {
                _ = try options.validated()
                return nil
            } catch {
                return error.field
            }
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.scale.api = .sqs } == nil)
        #expect(field { $0.scale.api = .ndjson } == "api")
        #expect(field { $0.scale.shardCounts = [] } == "shards")
        #expect(field { $0.scale.quota = 0 } == "quota")
        #expect(field { $0.loads = [0.5, 1.5] } == "loads")
        #expect(field { $0.receiversPerShard = 0 } == "receiversPerShard")
        #expect(field { $0.latencyPairs = 1 } == "latencyPairs")
        #expect(field { $0.endpoint = "https://127.0.0.1:1" } == "endpoint")
        #expect(field { $0.pool = "bench" } == "pool")
    }

    @Test func `connections and receivers grow with the shards`() {
        var options = ProcessScaleOptions()
        options.scale.connections = 100
        #expect(options.bench(shards: 8).connections == 800)
        #expect(options.bench(shards: 8).receiverCount == 32)
        #expect(options.bench(shards: 256).connections == 4_096)
        #expect(options.bench(shards: 1).batchSize == 1)
        options.scale.api = .sqs
        #expect(options.bench(shards: 1).batchSize == 1, "SendMessage, and no batch of the client's")
    }

    @Test func `a rate is what a step is expected to reach, up to the quota`() throws {
        var outcome = PhaseOutcome()
        outcome.nanoseconds = 1_000_000_000
        for _ in 0..<90 {
            outcome.statistics.send.record(nanoseconds: 5_000_000, messages: 10)
            outcome.statistics.delete.record(nanoseconds: 5_000_000, messages: 10)
        }
        let phase = ProcessPhase(
            phase: PhaseReport("full", outcome, batch: 1), load: nil, batchFill: nil, throttledSends: nil, cost: nil)
        let figures = ThresholdFigures(
            measured: phase.phase, isDrain: false, checks: LoadChecker(groups: 1).finished(drained: true), errors: 0,
            outageSeconds: 0)
        let latency = AddedLatency(
            router: ActionReport(outcome.statistics.send, seconds: 1), straight: nil, failures: 0)
        func step(rate: Double?) throws -> ProcessScaleStep {
            ProcessScaleStep(
                shards: 2, allowedPerSecond: 3_000, rate: rate, full: phase, loads: [], latency: latency,
                checks: figures.checks,
                verdicts: try ["p99<6ms", "p99<4ms"].map { figures.verdict(try Threshold($0)) },
                endedBadly: false)
        }
        #expect(try step(rate: nil).acceptedRatio == 0.3)
        #expect(try step(rate: 900).acceptedRatio == 1)
        #expect(try step(rate: 900).reachesRatio)
        #expect(try step(rate: 6_000).expectedPerSecond == 3_000)
        let report = ProcessScaleReport(
            options: ProcessScaleOptions(), machine: .current(), version: "1", seed: 1, quota: 150,
            steps: [try step(rate: 900)])
        #expect(report.missed == ["p99<4ms at 2 shards"])
        #expect(report.text.contains("2 shards: threshold p99<6ms: met"))
    }

    @Test func `children have no settings and no credentials of whoever runs them`() {
        let variables = ["PATH=/bin", "QUEUEPOOL_QUOTA=1", "AWS_SESSION_TOKEN=secret", "AWS_REGION=eu-central-1"]
        #expect(
            ShardFleet.cleaned(variables) == [
                "PATH=/bin", "AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_REGION=us-east-1",
            ])
    }

    @Test func `each shard of the pool is named its server`() {
        let endpoints = [Endpoint(host: "127.0.0.1", port: 1), Endpoint(host: "127.0.0.1", port: 2)]
        let plan = ShardFleet.Plan(pool: "p.fifo", shards: 2, quota: 30)
        let text = ShardFleet.createArguments(plan, control: "sqlite:c", endpoints: endpoints).joined(separator: " ")
        #expect(text.hasPrefix("pool create p.fifo --backend sqs --shards 2 "))
        #expect(text.contains("--endpoint-url http://127.0.0.1:1 "))
        #expect(text.hasSuffix("--shard-endpoint 0=http://127.0.0.1:1 --shard-endpoint 1=http://127.0.0.1:2"))
    }

    @Test func `a receiver takes from the shard server of its number`() {
        let shard = (0..<3).map {
            ReceiveTarget(endpoint: Endpoint(host: "127.0.0.1", port: UInt16(10 + $0)), queue: "bench-000\($0).fifo")
        }
        var plan = LoadPlan(
            options: BenchOptions(), endpoint: Endpoint(host: "127.0.0.1", port: 1), seed: 1, run: 1,
            shardNames: shard.map(\.queue), placement: [], serverUsage: { nil })
        #expect(plan.receiveTarget(4) == ReceiveTarget(endpoint: plan.endpoint, queue: "bench.fifo"))
        plan.receiveTargets = shard
        #expect((0..<6).map(plan.receiveTarget) == shard + shard)
    }

    @Test func `several processes are one figure, and one that is gone is none`() throws {
        let one = ProcessUsage(cpuNanoseconds: 5, residentBytes: 7)
        let sum = try #require(ProcessUsage(sumOf: [one, one]))
        #expect(sum == ProcessUsage(cpuNanoseconds: 10, residentBytes: 14))
        #expect(sum.cpuNanoseconds(since: one) == 5)
        #expect(sum.cpuNanoseconds(since: nil) == nil)
        #expect(ProcessUsage(sumOf: [one, nil]) == nil)
        #expect(ProcessUsage(sumOf: []) == nil)
    }
}
