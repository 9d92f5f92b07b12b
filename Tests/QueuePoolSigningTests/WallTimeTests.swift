// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolSigning

@Suite struct `Wall time` {
    @Test(arguments: [
        (0, "19700101T000000Z"), (951_782_399, "20000228T235959Z"), (951_782_400, "20000229T000000Z"),
        (1_440_938_160, "20150830T123600Z"), (4_107_542_400, "21000301T000000Z"),
    ])
    func `writes the form that signatures carry`(seconds: Int64, text: String) {
        #expect(WallTime.basic(seconds) == text)
        #expect(WallTime.parseBasic(Array(text.utf8)[...]) == seconds)
    }

    @Test(arguments: [
        "", "20150830T123600", "20150830t123600Z", "20150830T123600z", "20150230T123600Z", "20151330T123600Z",
        "20150830T243600Z", "20150830T126000Z", "20150830T123660Z", "2015-830T123600Z", "20150830T123600ZZ",
    ]) func `reads no other form of it`(text: String) {
        #expect(WallTime.parseBasic(Array(text.utf8)[...]) == nil)
    }

    @Test func `reads what AWS writes and nothing else`() {
        #expect(WallTime.parseISO8601("2015-08-30T12:36:00Z") == 1_440_938_160)
        #expect(WallTime.parseISO8601("2015-08-30T12:36:00.123Z") == 1_440_938_160)
        #expect(WallTime.parseHTTPDate("Sun, 30 Aug 2015 12:36:00 GMT") == 1_440_938_160)
        for wrong in ["", "2015-08-30", "2015-13-30T12:36:00Z", "2015-08-30T12:36:00+02:00", "x015-08-30T12:36:00Z"] {
            #expect(WallTime.parseISO8601(wrong) == nil)
            #expect(WallTime.parseHTTPDate(wrong) == nil)
        }
    }
}
