// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

@Suite struct `Limits of a key` {
    @Test func `limits are written as they are read`() throws {
        let all = CallerLimits(requestsPerSecond: 100, bytesPerSecond: 1_000_000, connections: 10)
        #expect(all.text == "requests=100 bytes=1000000 connections=10")
        let some = [all, .none, CallerLimits(bytesPerSecond: 1), CallerLimits(connections: 1_000_000_000)]
        for limits in some { #expect(CallerLimits(text: limits.text) == limits) }
        #expect(CallerLimits.none.text.isEmpty)
    }

    @Test(arguments: [
        "requests", "requests=", "requests=0", "requests=-1", "requests=1.5", "requests=1000000001",
        "requests=1 rate=1", "requests=1 requests=2", "=1", "REQUESTS=1", "requests=1=2",
    ])
    func `limits that cannot be read are not left out`(text: String) {
        #expect(CallerLimits(text: text) == nil)
    }

    @Test func `limits outside what is allowed are held`() {
        let limits = CallerLimits(requestsPerSecond: 0, bytesPerSecond: .max, connections: .min)
        #expect(limits[.requests] == 1)
        #expect(limits[.bytes] == 1_000_000_000)
        #expect(limits[.connections] == 1)
    }

    @Test(arguments: [
        ("1", 1), ("250000", 250_000), ("500kB", 500_000), ("1MB", 1_000_000), ("1GB", 1_000_000_000),
        ("1000000000", 1_000_000_000),
    ])
    func `a count of bytes has a unit or none`(text: String, count: Int) {
        #expect(ByteCount.parse(text) == count)
    }

    @Test(arguments: [
        "", "0", "0MB", "MB", "-1MB", "1.5MB", "1MiB", "1mb", "1 MB", "2GB", "1000000001", "99999999999999999999GB",
        "+1",
        "١",
    ])
    func `what is no count of bytes is refused`(text: String) {
        #expect(ByteCount.parse(text) == nil)
    }
}
