// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolBench

@Suite struct OptionsTests {
    private func field(_ change: (inout BenchOptions) -> Void) -> String? {
        var options = BenchOptions()
        change(&options)
        do throws(InvalidBenchOption) {
            _ = try options.validated()
            return nil
        } catch {
            return error.field
        }
    }

    @Test func `the defaults are allowed`() {
        #expect(field { _ in } == nil)
        #expect(throws: Never.self) { try ScaleOptions().validated() }
    }

    @Test func `an error names its field`() {
        #expect(field { $0.shards = 0 } == "shards")
        #expect(field { $0.connections = 5_000 } == "connections")
        #expect(field { $0.bodyBytes = 63 } == "bodyBytes")
        #expect(field { $0.groups = 0 } == "groups")
        #expect(field { $0.waitSeconds = 21 } == "waitSeconds")
        #expect(field { $0.rate = .nan } == "rate")
        #expect(field { $0.seconds = 0 } == "seconds")
        #expect(field { $0.skew = .zipf(0) } == "skew")
        #expect(field { $0.pool = "bench" } == "pool")
        #expect(field { $0.pool = "a b.fifo" } == "pool")
        #expect(field { $0.endpoint = "https://127.0.0.1:1" } == "endpoint")
        #expect(field { $0.endpoint = "http://127.0.0.1" } == "endpoint")
        #expect(field { $0.serverPID = 1 } == "serverPID")
    }

    @Test func `a batch fits its API`() {
        #expect(field { $0.batch = 2 } == "batch")
        #expect(field { ($0.api, $0.batch) = (.sqs, 11) } == "batch")
        #expect(field { ($0.api, $0.batch) = (.sqs, 10) } == nil)
        #expect(field { ($0.api, $0.batch, $0.bodyBytes) = (.sqs, 10, 200_000) } == "bodyBytes")
        #expect(field { ($0.api, $0.batch) = (.ndjson, 10_001) } == "batch")
        var options = BenchOptions()
        options.api = .ndjson
        #expect(options.batchSize == 1_000)
    }

    @Test func `scale options are checked too`() {
        var options = ScaleOptions()
        options.shardCounts = [1, 300]
        #expect(throws: InvalidBenchOption(field: "shards", value: "300", allowed: "1...256")) {
            try options.validated()
        }
    }

    @Test func `a skew is read and written`() throws {
        #expect(try GroupSkew("uniform") == .uniform)
        #expect(try GroupSkew("zipf:1.2") == .zipf(1.2))
        #expect(try GroupSkew("zipf:1.2").description == "zipf:1.2")
        #expect(throws: InvalidBenchOption.self) { try GroupSkew("zipf") }
    }

    @Test(arguments: [
        ("p99<20ms", 19_999.0, 20_000.0), ("p99.9<=1s", 1_000_000, 1_000_001), ("max < 5us", 4.9, 5),
        ("rate>10000", 10_001, 10_000), ("received>=5", 5, 4), ("loss=0", 0, 1), ("outage<2s", 1.9, 2),
    ])
    func `a threshold divides what meets it from what does not`(text: String, met: Double, missed: Double) throws {
        let threshold = try Threshold(text)
        #expect(threshold.isMet(by: met, isLowerBound: false))
        #expect(!threshold.isMet(by: missed, isLowerBound: false))
    }

    @Test func `a lower bound proves only that a figure is large`() throws {
        #expect(try !Threshold("p99<20ms").isMet(by: 1, isLowerBound: true))
        #expect(try !Threshold("p99=1us").isMet(by: 1, isLowerBound: true))
        #expect(try Threshold("p99>20ms").isMet(by: 30_000, isLowerBound: true))
    }

    @Test(arguments: ["", "p99", "<5", "p98<1ms", "p99<20", "p99<ms", "rate>1e", "loss=0ms", "rate>-1", "p99<20 m s x"])
    func `a threshold that cannot be read is refused`(text: String) {
        #expect(throws: InvalidBenchOption.self) { try Threshold(text) }
    }

    @Test func `an endpoint is taken apart`() throws {
        #expect(try Endpoint("http://localhost:9324/").authority == "127.0.0.1:9324")
        #expect(throws: InvalidBenchOption.self) { try Endpoint("http://example.org:80") }
    }

    @Test func `JSON escapes what it must`() {
        let value = JSONValue.object([
            (#"a"b"#, .text("\u{1}\\\n")), ("n", .number(1.5)), ("none", .null), ("list", .list([.integer(1)])),
        ])
        #expect(
            value.rendered() == ##"{\##n  "a\"b": "\u0001\\\n",\##n  "n": 1.500,\##n  "none": null,\##n"##
                + "  \"list\": [\n    1\n  ]\n}")
    }

    @Test func `numbers have fixed places`() {
        #expect(decimal(3.14159, places: 2) == "3.14")
        #expect(decimal(-0.001, places: 2) == "0.00")
        #expect(decimal(2.5, places: 0) == "3")
        #expect(decimal(0.05, places: 3) == "0.050")
    }

    @Test func `a curve over connections has one number of shards and no quota of its own`() throws {
        func field(_ change: (inout ConnectionCurveOptions) -> Void) -> String? {
            var options = ConnectionCurveOptions()
            change(&options)
            do throws(InvalidBenchOption) {
                _ = try options.validated()
                return nil
            } catch {
                return error.field
            }
        }
        #expect(field { _ in } == nil)
        #expect(field { $0.connectionCounts = [] } == "connections")
        #expect(field { $0.connectionCounts = [1, 4_097] } == "connections")
        #expect(field { $0.scale.shardCounts = [1, 2] } == "shards")
        #expect(field { $0.scale.shardCounts = [] } == "shards")
        #expect(field { $0.scale.mode = .drain } == "mode")
        var options = ConnectionCurveOptions()
        let step = options.bench(connections: 3)
        #expect(step.connections == 3 && step.shards == 8 && step.batchSize == 1 && step.quota == nil)
        #expect(!step.retriesThrottled)
        options.quota = 50
        options.scale.batch = 10
        #expect(options.bench(connections: 1).quota == 50)
        #expect(options.bench(connections: 1).retriesThrottled)
        #expect(options.bench(connections: 1).batchSize == 10)
    }
}
