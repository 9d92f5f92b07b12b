// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolTestSupport
import Testing

@testable import QueuePoolAWS

/// The calls by which commands look at and prepare a bucket, against a service that nobody here wrote.
@Suite(.timeLimit(.minutes(3)), .enabled(if: !Moto.isLeftOut)) struct `A bucket of a body store` {
    private func service() throws -> S3Service {
        S3Service(
            caller: Moto.caller(ServiceClock(Moto.clock)), region: Moto.region, endpoint: try Moto.endpoint(),
            clock: Moto.clock)
    }

    private func folder(_ prefix: String) throws -> S3Folder {
        try #require(S3Folder("s3://conformance-\(UUID().uuidString.lowercased())/\(prefix)"))
    }

    /// The bucket's rules as the service has them; none where it says so.
    private func rules(of bucket: String, _ service: S3Service) async throws -> [XMLText] {
        let result = await withCheckedContinuation { done in
            service.call("GET", bucket, query: "lifecycle=") { done.resume(returning: $0) }
        }
        return XMLText(try result.get().body).elements("Rule").map { XMLText($0.utf8) }
    }

    // In moto's own region: it knows no other by its address.
    @Test func `is absent, then made, then usable`() async throws {
        let service = try service()
        let bucket = try folder("a").bucket
        let states = try await onOwnThread {
            let administrator = S3Administrator(service: service)
            let before = try administrator.state(ofBucket: bucket)
            try administrator.create(bucket: bucket)
            return [before, try administrator.state(ofBucket: bucket)]
        }
        #expect(states.first == .absent)
        // moto does not say where a bucket is that is listed.
        #expect(states.last == .usable(region: nil) || states.last == .usable(region: "us-east-1"))
    }

    @Test func `gets a rule for each folder, and each stays as the longest asked for`() async throws {
        let service = try service()
        let one = try folder("one & two")
        let other = try #require(S3Folder(bucket: one.bucket, prefix: "other/é"))
        let changes = try await onOwnThread {
            let administrator = S3Administrator(service: service)
            try administrator.create(bucket: one.bucket)
            return [
                try administrator.expire(one, afterDays: 19), try administrator.expire(one, afterDays: 19),
                try administrator.expire(other, afterDays: 3), try administrator.expire(one, afterDays: 5),
                try administrator.expire(other, afterDays: 20),
            ]
        }
        #expect(changes == [true, false, true, false, true])
        let rules = try await rules(of: one.bucket, service)
        #expect(rules.map { $0.first("Prefix") } == ["one &amp; two/", "other/é/"])
        #expect(rules.map { $0.first("Days") } == ["19", "20"])
        #expect(rules.allSatisfy { $0.first("Status") == "Enabled" })
    }
}
