// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// How much a key may use of one server. Each server counts for itself: to share the counts would cost a write for each
// request. A key without limits is held by the server's own only.

/// What can be limited for a key.
public enum CallerLimit: String, Hashable, Sendable, CaseIterable {
    case requests
    case bytes
    case connections
}

/// The limits of one key; `nil` is none.
public struct CallerLimits: Hashable, Sendable {
    /// What a limit may be.
    public static let allowed = 1...1_000_000_000

    /// Requests in a second; a batch is one.
    public private(set) var requestsPerSecond: Int?
    /// Bytes of bodies in a second, those of requests and of answers together.
    public private(set) var bytesPerSecond: Int?
    /// Connections at one time.
    public private(set) var connections: Int?

    /// No limits.
    public static let none = CallerLimits(requestsPerSecond: nil, bytesPerSecond: nil, connections: nil)

    /// Limits that are not allowed are held within what is.
    public init(requestsPerSecond: Int? = nil, bytesPerSecond: Int? = nil, connections: Int? = nil) {
        self.requestsPerSecond = requestsPerSecond.map(CallerLimits.held)
        self.bytesPerSecond = bytesPerSecond.map(CallerLimits.held)
        self.connections = connections.map(CallerLimits.held)
    }

    private static func held(_ limit: Int) -> Int { min(max(allowed.lowerBound, limit), allowed.upperBound) }

    /// What one of them is.
    public subscript(_ limit: CallerLimit) -> Int? {
        switch limit {
        case .requests: requestsPerSecond
        case .bytes: bytesPerSecond
        case .connections: connections
        }
    }

    // MARK: - Texts

    /// `requests=100 bytes=1000000 connections=10`, for a store; empty if there are none.
    public var text: String {
        CallerLimit.allCases.compactMap { limit in self[limit].map { "\(limit.rawValue)=\($0)" } }
            .joined(separator: " ")
    }

    /// Reads `text`.
    /// - Returns: `nil` if any part cannot be read: to leave one out would be to lift a limit.
    public init?(text: String) {
        var limits: [CallerLimit: Int] = [:]
        for part in text.split(separator: " ") {
            let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard sides.count == 2, let limit = CallerLimit(rawValue: String(sides[0])), limits[limit] == nil,
                let number = Int(sides[1]), CallerLimits.allowed.contains(number)
            else { return nil }
            limits[limit] = number
        }
        self.init(
            requestsPerSecond: limits[.requests], bytesPerSecond: limits[.bytes], connections: limits[.connections])
    }
}

/// A count on the command line: `250000`, `500kB`, `1MB`, `2GB`, in powers of a thousand.
public enum ByteCount {
    /// What it may look like, for messages.
    public static let allowed = "1...1GB, such as 250000, 500kB or 1MB"

    /// - Returns: `nil` unless it is digits, with or without a unit, and within `CallerLimits.allowed`.
    public static func parse(_ text: String) -> Int? {
        let units: [(String, Int)] = [("kB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000)]
        let (unit, factor) = units.first { text.hasSuffix($0.0) } ?? ("", 1)
        let digits = text.dropLast(unit.count)
        guard !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(digits),
            number <= CallerLimits.allowed.upperBound / factor, number > 0
        else { return nil }
        return number * factor
    }
}
