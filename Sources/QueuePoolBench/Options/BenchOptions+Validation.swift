// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A field of the options that cannot be used.
package struct InvalidBenchOption: Error, Hashable, CustomStringConvertible {
    package let field: String
    package let value: String
    package let allowed: String

    package var description: String { "\(field): \(value) is not allowed; allowed: \(allowed)" }
}

extension BenchOptions {
    /// The same options, known to be usable.
    /// - Throws: `InvalidBenchOption` with the first field that is out of range.
    package func validated() throws(InvalidBenchOption) -> BenchOptions {
        try require("shards", shards, 1...256)
        try require("connections", connections, 1...4_096)
        if let receivers { try require("receivers", receivers, 1...4_096) }
        try require("bodyBytes", bodyBytes, Payload.bytesMin...262_144)
        try require("groups", groups, 1...10_000_000)
        try require("waitSeconds", waitSeconds, 0...20)
        if let quota { try require("quota", quota, 1...1_000_000) }
        if let messages { try require("messages", messages, 1...1_000_000_000) }
        try require("seconds", seconds, 0.1...86_400)
        try require("warmUpSeconds", warmUpSeconds, 0...3_600)
        try require("drainTimeoutSeconds", drainTimeoutSeconds, 1...3_600)
        try require("outageSeconds", outageSecondsMax, 0.1...86_400)
        try require("answerSeconds", answerSecondsMax, 0.5...600)
        if let intervalSeconds { try require("interval", intervalSeconds, 0.1...3_600) }
        if let rate { try require("rate", rate, 0.1...10_000_000) }
        if case .zipf(let exponent) = skew { try require("skew", exponent, 0.01...5) }
        if let handlerMilliseconds {
            // Ten messages of one group are handled within the visibility timeout of 30 s that pools have.
            try require("handler-ms", handlerMilliseconds, 1...2_000)
            guard mode != .send else {
                throw InvalidBenchOption(
                    field: "handler-ms", value: "a handler of sends alone", allowed: "with mode both or drain")
            }
        }
        if let findRate { try requireSearchable(findRate) }
        try requireBatch()
        try requirePool()
        if let endpoint { _ = try Endpoint(endpoint) }
        if serverPID != nil, endpoint == nil {
            throw InvalidBenchOption(
                field: "serverPID", value: "set without an endpoint", allowed: "with endpoint only")
        }
        return self
    }

    private func requireSearchable(_ limit: Threshold) throws(InvalidBenchOption) {
        guard limit.figure.isTime, limit.figure != .outage, [.below, .atMost].contains(limit.comparison) else {
            throw InvalidBenchOption(
                field: "find-rate", value: "'\(limit.text)'", allowed: "a latency below a time, such as p99<20ms")
        }
        let others = [
            ("mode drain", mode == .drain), ("messages", messages != nil), ("interval", intervalSeconds != nil),
        ]
        if let (name, _) = others.first(where: \.1) {
            throw InvalidBenchOption(field: "find-rate", value: "a search with \(name)", allowed: "without \(name)")
        }
    }

    private func requireBatch() throws(InvalidBenchOption) {
        switch api {
        case .rest: try require("batch", batchSize, 1...1)
        case .sqs: try require("batch", batchSize, 1...10)
        case .ndjson: try require("batch", batchSize, 1...10_000)
        }
        if api == .sqs, batchSize * bodyBytes > 1_048_576 {
            throw InvalidBenchOption(
                field: "bodyBytes", value: "\(batchSize) x \(bodyBytes)", allowed: "1048576 bytes a batch")
        }
    }

    private func requirePool() throws(InvalidBenchOption) {
        let stem = pool.hasSuffix(".fifo") ? pool.dropLast(5) : ""
        let isLegal = stem.utf8.allSatisfy {
            (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0) || $0 == 0x2D
                || $0 == 0x5F
        }
        guard (1...75).contains(stem.utf8.count), isLegal else {
            throw InvalidBenchOption(
                field: "pool", value: "a name of \(pool.utf8.count) bytes",
                allowed: "1...75 of A-Z a-z 0-9 - _ followed by .fifo")
        }
    }
}

/// - Throws: `InvalidBenchOption` naming the field unless the value is in range.
func require<Value: Comparable>(
    _ field: String, _ value: Value, _ range: ClosedRange<Value>
) throws(InvalidBenchOption) {
    guard range.contains(value) else {
        throw InvalidBenchOption(
            field: field, value: "\(value)", allowed: "\(range.lowerBound)...\(range.upperBound)")
    }
}
