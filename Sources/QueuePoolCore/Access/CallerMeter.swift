// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Counts what one key uses of this server. Guarantees: over any stretch of t seconds at most `rate * (t + 1)` requests
// are admitted, and they bring at most `rate * (t + 1)` bytes and those of the last one, since a request is admitted whole
// or not at all. What is refused takes nothing, so a caller that is over one limit loses nothing of another.

/// Whether a request or a connection of a key is let in.
public enum CallerAdmission: Hashable, Sendable {
    case admitted
    /// - Parameter limit: the one that keeps it out longest.
    case refused(retryAfterMilliseconds: Int64, CallerLimit)
}

/// The state of one key's limits.
public struct CallerMeter: Hashable, Sendable {
    /// What a caller with too many connections is told to wait: when one of them ends, nobody knows.
    public static let connectionRetryMilliseconds: Int64 = 1_000

    public private(set) var limits: CallerLimits
    /// Those that were let in and have not ended.
    public private(set) var connections = 0
    private var requests: TokenBucket?
    private var bytes: TokenBucket?

    /// A meter of a caller that rested: a second's worth may be used at once.
    public init(_ limits: CallerLimits, now: Timestamp) {
        self.limits = limits
        requests = limits.requestsPerSecond.map { TokenBucket(rate: $0, now: now) }
        bytes = limits.bytesPerSecond.map { TokenBucket(rate: $0, now: now) }
    }

    /// Takes other limits. What was used counts on, and no connection ends because it is one too many now.
    public mutating func change(to limits: CallerLimits, now: Timestamp) {
        self.limits = limits
        CallerMeter.change(&requests, to: limits.requestsPerSecond, now: now)
        CallerMeter.change(&bytes, to: limits.bytesPerSecond, now: now)
    }

    private static func change(_ bucket: inout TokenBucket?, to rate: Int?, now: Timestamp) {
        guard let rate else {
            bucket = nil
            return
        }
        if bucket == nil { bucket = TokenBucket(rate: rate, now: now) }
        bucket?.change(rate: rate, burst: rate, now: now)
    }

    // MARK: - Requests

    /// Lets a request in, or says when to come again.
    /// - Parameter size: bytes of its body, as far as they are known; `charge` counts the others.
    public mutating func admit(bytes size: Int = 0, now: Timestamp) -> CallerAdmission {
        let size = CallerMeter.held(size)
        let requestWait = requests?.wait(for: 1, now: now) ?? 0
        // One byte at least: who is in debt brings no request without a body either, which may ask for a large answer.
        // No more than the bucket holds is waited for, so what is larger passes, and leaves a debt.
        let byteWait = bytes?.wait(for: max(1, size), now: now) ?? 0
        guard requestWait == 0, byteWait == 0 else {
            return requestWait >= byteWait
                ? .refused(retryAfterMilliseconds: requestWait, .requests)
                : .refused(retryAfterMilliseconds: byteWait, .bytes)
        }
        requests?.spend(1, now: now)
        bytes?.spend(size, now: now)
        return .admitted
    }

    /// Counts bytes that nobody knew of when the request was admitted: of a body that came in chunks, and of an answer.
    /// They are on their way already, so they make later requests wait.
    public mutating func charge(bytes size: Int, now: Timestamp) {
        bytes?.spend(CallerMeter.held(size), now: now)
    }

    /// Milliseconds until the bytes that were counted are paid for; 0 if nothing is owed.
    public mutating func byteDebtMilliseconds(now: Timestamp) -> Int64 { bytes?.wait(for: 0, now: now) ?? 0 }

    /// What is left of a limit; 0 if there is no such limit.
    public mutating func left(of limit: CallerLimit, now: Timestamp) -> Int {
        switch limit {
        case .requests: requests?.tokens(now: now) ?? 0
        case .bytes: bytes?.tokens(now: now) ?? 0
        case .connections: limits.connections.map { max(0, $0 - connections) } ?? 0
        }
    }

    /// What keeps the arithmetic far from an overflow.
    private static func held(_ size: Int) -> Int { min(max(0, size), TokenBucket.largest) }

    // MARK: - Connections

    /// Lets a connection in, on the first request by which it is known to be this key's.
    public mutating func connect() -> CallerAdmission {
        if let most = limits.connections, connections >= most {
            return .refused(retryAfterMilliseconds: CallerMeter.connectionRetryMilliseconds, .connections)
        }
        connections += 1
        return .admitted
    }

    /// Ends one that was let in.
    public mutating func disconnect() { connections = max(0, connections - 1) }
}
