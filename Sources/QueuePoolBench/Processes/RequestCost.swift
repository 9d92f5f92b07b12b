// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Requests that a message costs, and what SQS takes for them.
package struct RequestCost: Hashable, Sendable {
    /// Dollars a million requests to FIFO queues: price list of Amazon SQS, us-east-1, first tier (up to 100 thousand
    /// million requests a month), https://aws.amazon.com/sqs/pricing/, as of June 2026.
    package static let dollarsPerMillionRequests = 0.50
    /// So many bytes of a request are paid as one.
    static let paidBytes = 65_536.0

    /// Requests a message.
    package var sends: Double
    package var receives: Double
    package var deletes: Double
    /// What a send or receive is paid as: one request for each 64 KiB.
    var paidUnits = 1.0

    /// Requests a message in all.
    package var requests: Double { sends + receives + deletes }
    package var dollarsPerMillionMessages: Double {
        ((sends + receives) * paidUnits + deletes) * RequestCost.dollarsPerMillionRequests
    }

    /// - Parameters:
    ///   - fill: messages of a send.
    ///   - bodyBytes: size of each.
    static func paidUnits(fill: Double, bodyBytes: Int) -> Double {
        max(1, (fill * Double(bodyBytes) / paidBytes).rounded(.up))
    }
}
