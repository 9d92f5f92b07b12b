// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// The paths of the SQS protocol: `/`, and those of queue URLs, `/ACCOUNT/QUEUE` and `/QUEUE`.
enum SQSPath {
    /// - Parameter path: without a query.
    static func isOne(_ path: some Collection<UInt8>) -> Bool {
        guard path.first == UInt8(ascii: "/") else { return false }
        let parts = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        switch parts.count {
        // "/" alone; no other path has an empty part.
        case 1: return parts[0].isEmpty || isName(parts[0]) && parts[0].suffix(5).elementsEqual(".fifo".utf8)
        // A queue that isn't there is the protocol's to refuse.
        case 2: return isAccount(parts[0]) && isName(parts[1])
        default: return false
        }
    }

    /// Twelve digits.
    private static func isAccount(_ part: some Collection<UInt8>) -> Bool {
        part.count == 12 && part.allSatisfy { (48...57).contains($0) }
    }

    private static func isName(_ part: some Collection<UInt8>) -> Bool {
        (1...80).contains(part.count) && part.allSatisfy { PoolName.isAllowed($0) || $0 == UInt8(ascii: ".") }
    }
}
