// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Connections that were refused, or ended before their client ended them, by reason.
package final class ConnectionCounters: Sendable {
    package enum Reason: Int, CaseIterable, Sendable {
        /// Refused: there are as many as may be.
        case tooMany
        /// Refused: the client's address has as many as it may have.
        case tooManyOfAddress
        /// The client's handshake was the oldest of too many.
        case tooManyHandshakes
        /// The client read nothing of what it was sent.
        case slowReader
        /// The client began a request and did not send the rest in time.
        case slowRequest
        /// No request for the idle time.
        case idle

        /// The label's value.
        package var text: String {
            switch self {
            case .tooMany: "too-many"
            case .tooManyOfAddress: "too-many-of-address"
            case .tooManyHandshakes: "too-many-handshakes"
            case .slowReader: "slow-reader"
            case .slowRequest: "slow-request"
            case .idle: "idle"
            }
        }
    }

    private let counts = Mutex([Int](repeating: 0, count: Reason.allCases.count))

    package init() {}

    func count(_ reason: Reason) { counts.withLock { $0[reason.rawValue] += 1 } }

    func value(_ reason: Reason) -> Int { counts.withLock { $0[reason.rawValue] } }
}
