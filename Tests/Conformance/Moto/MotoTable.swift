// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolTestSupport

extension Moto {
    static let region = "us-east-1"
    static let clock = SystemClock()
    private static let engine = CurlEngine()

    /// Signs what goes to moto, which takes any credentials.
    static func caller(_ time: ServiceClock) -> SignedCaller {
        SignedCaller(
            engine: engine, provider: CredentialProvider(source: FixedCredentials(), clock: time), clock: time)
    }
}

/// A new table of DynamoDB, for one test.
struct MotoTable: Sendable {
    let time = ServiceClock(Moto.clock)
    /// Reached without anything between.
    let plain: DynamoDBTable
    /// The same table, reached as the store under test reaches it.
    let tested: DynamoDBTable

    /// Makes the table; it blocks.
    /// - Parameters:
    ///   - wrap: what stands between the store under test and the service.
    ///   - pauses: by which clock that store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        let caller = Moto.caller(time)
        let (name, endpoint) = ("conformance-\(UUID().uuidString)", try Moto.endpoint())
        func table(_ caller: any AWSCaller, _ clock: any Clock) -> DynamoDBTable {
            DynamoDBTable(
                name: name,
                service: DynamoDBTable.service(caller: caller, region: Moto.region, endpoint: endpoint, clock: clock))
        }
        plain = table(caller, Moto.clock)
        tested = table(wrap(caller), pauses ?? Moto.clock)
        try DynamoDBControlStore(table: plain).makeTable { Thread.sleep(forTimeInterval: 0.05) }
    }
}
