// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A result that was written before, read back for a comparison. What older programs did not write is `nil` or empty.

/// The JSON of one measurement, as far as a comparison needs it.
package struct BenchResult: Decodable, Sendable {
    /// A value of a parameter.
    enum Value: Decodable, Hashable, Sendable, CustomStringConvertible {
        case null
        case boolean(Bool)
        case number(Double)
        case text(String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if container.decodeNil() {
                self = .null
            } else if let value = try? container.decode(Bool.self) {
                self = .boolean(value)
            } else if let value = try? container.decode(Double.self) {
                self = .number(value)
            } else {
                self = .text(try container.decode(String.self))
            }
        }

        var description: String {
            switch self {
            case .null: "none"
            case .boolean(let value): value ? "yes" : "no"
            case .number(let value): Quantity.count(value)
            case .text(let value): value
            }
        }
    }

    struct Machine: Decodable, Sendable {
        let cores: Int
        let processor: String
        let measuredAt: Int
    }

    struct Action: Decodable, Sendable {
        let messages: Int
        let requests: Int
        let messagesPerSecond: Double
        let latencyMicroseconds: Latencies
        let latencyDistribution: [PercentilePoint]?
    }

    struct Latencies: Decodable, Sendable {
        let p50: Double
        let p90: Double
        let p99: Double
        let p999: Double
        let max: Double
        /// Names of those that are lower bounds.
        let lowerBounds: [String]?

        enum CodingKeys: String, CodingKey {
            case p50, p90, p99, max, lowerBounds
            case p999 = "p99.9"
        }
    }

    struct Phase: Decodable, Sendable {
        let name: String
        let seconds: Double
        let send: Action
        let receive: Action
        let delete: Action
        let endToEnd: Action?
        let serverCPUMicrosecondsPerMessage: Double?
        let clientCPUMicrosecondsPerMessage: Double?
        let neverSent: Int?
        let intervals: [IntervalReport]?
    }

    struct Checks: Decodable, CheckFigures, Sendable {
        let holds: Bool
        let acknowledged: Int
        let delivered: Int
        let lost: Int?
        let reordered: Int
        let duplicated: Int
        let corrupted: Int
        let misplaced: Int
    }

    let kind: String
    let version: String
    let seed: UInt64
    let machine: Machine
    let parameters: [String: Value]
    let interrupted: Bool?
    let phases: [Phase]
    let checks: Checks

    /// Whether it is of one measurement that measured something; other results of the bench look alike.
    package var isComparable: Bool { kind == "bench" && measured != nil }

    var mode: String { parameters["mode"]?.description ?? "" }
    /// The phase whose figures count.
    var measured: Phase? { phases.first { $0.name == mode } }
    var intervals: [IntervalReport] { (measured?.intervals ?? []).comparable }
}
