// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// What a router adds to a send: one connection to it and one straight to a shard's server, one request at a time, taken
// in turns within one run, so that whatever else the machine does meets both alike. Both send to the same shard; which
// of the two comes first changes from pair to pair. The rate is far below the quota, so nobody waits for a token.

/// Latencies of single sends, microseconds.
package struct AddedLatency: Hashable, Sendable {
    package let router: ActionReport
    /// `nil` when the shards cannot be reached without the router.
    package let straight: ActionReport?
    /// Sends that were not accepted; no latency counts them.
    package let failures: Int

    /// Messages a second that one group can send through the router: it has one entry under way, and the next leaves when
    /// that is answered.
    package var groupPerSecond: Double? { router.p50 > 0 ? 1_000_000 / router.p50 : nil }

    /// The difference of the medians in milliseconds.
    package var addedMilliseconds: Double? {
        guard let straight, straight.requests > 0, router.requests > 0 else { return nil }
        return (router.p50 - straight.p50) / 1_000
    }
}

/// Measures them.
struct AddedLatencyProbe {
    /// Where SendMessage goes.
    struct Target {
        let endpoint: Endpoint
        let queue: String
    }

    let router: Target
    let straight: Target?
    /// Groups of the shard that is measured; each message has one of its own as long as they last.
    let groups: [Int]
    let pairs: Int
    let pairsPerSecond: Double
    let bodyBytes: Int
    let run: UInt64
    private static let warmUpPairs = 10

    /// Blocks until all pairs are sent.
    /// - Throws: `SocketError` when a connection fails, `BenchInterrupted`.
    func measure() throws -> AddedLatency {
        var sides = [try Side(router, self)]
        if let straight { sides.append(try Side(straight, self)) }
        let start = monotonicNanoseconds()
        for pair in 0..<pairs + AddedLatencyProbe.warmUpPairs {
            try Interruption.check()
            let due = start + UInt64(Double(pair) * 1e9 / pairsPerSecond)
            let now = monotonicNanoseconds()
            if due > now { usleep(UInt32((due - now) / 1_000)) }
            let group = groups.isEmpty ? 0 : groups[pair % groups.count]
            for turn in sides.indices {
                let side = (turn + pair) % sides.count
                // The two sides are two messages of one group; sequences keep their deduplication ids apart.
                try sides[side].send(
                    group: group, sequence: UInt32(pair * sides.count + side),
                    counts: pair >= AddedLatencyProbe.warmUpPairs)
            }
        }
        let seconds = Double(monotonicNanoseconds() - start) / 1e9
        return AddedLatency(
            router: ActionReport(sides[0].action, seconds: seconds),
            straight: sides.count > 1 ? ActionReport(sides[1].action, seconds: seconds) : nil,
            failures: sides.reduce(0) { $0 + $1.failures })
    }
}

/// One connection of the probe.
private final class Side {
    private(set) var action = PhaseStatistics.Action()
    private(set) var failures = 0
    private var template: SendTemplate
    private let descriptor: Int32
    private let reader = ResponseReader()

    init(_ target: AddedLatencyProbe.Target, _ probe: AddedLatencyProbe) throws {
        template = SendTemplate(
            SendTemplate.Shape(
                api: .sqs, pool: target.queue, headLines: target.endpoint.headLines, batch: 1, run: probe.run,
                filler: Payload.filler(bodyBytes: probe.bodyBytes, seed: probe.run)), connection: 0)
        descriptor = try Sockets.connect(to: target.endpoint, isBlocking: true)
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(group: Int, sequence: UInt32, counts: Bool) throws {
        template.set(entry: 0, group: group, sequence: sequence, sentAt: monotonicNanoseconds())
        let start = monotonicNanoseconds()
        try write()
        let status = try answerStatus()
        guard counts else { return }
        if status == 200 {
            action.record(nanoseconds: monotonicNanoseconds() - start, messages: 1)
        } else {
            failures += 1
        }
    }

    private func write() throws {
        try template.bytes.withUnsafeBytes { raw in
            var written = 0
            while written < raw.count {
                let count = Glibc.send(
                    descriptor, raw.baseAddress.map { $0 + written }, raw.count - written, Int32(MSG_NOSIGNAL))
                if count > 0 {
                    written += count
                } else if errno != EINTR {
                    throw SocketError(call: "send", code: errno)
                }
            }
        }
    }

    private func answerStatus() throws -> Int {
        while true {
            if let response = try reader.next() {
                let status = response.status
                reader.consume()
                return status
            }
            let space = try reader.space()
            let count = recv(descriptor, space.baseAddress, space.count, 0)
            if count > 0 {
                reader.received(count)
            } else if count == 0 || errno != EINTR {
                throw SocketError(call: "recv", code: count == 0 ? ECONNRESET : errno)
            }
        }
    }
}
