// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import Synchronization
import Testing

@Suite struct `A caller's token` {
    private final class Place: Sendable {
        let text = Mutex<String?>("first")
    }

    @Test func `is read again only when it was refused`() async {
        let place = Place()
        let token = CallerToken("first") { place.text.withLock { $0 } }
        place.text.withLock { $0 = "second" }
        #expect(token.text == "first")
        #expect(await token.isOther(than: "first"))
        #expect(token.text == "second")
        // Who was refused with the one before is told without another look.
        place.text.withLock { $0 = "third" }
        #expect(await token.isOther(than: "first"))
        #expect(token.text == "second")
    }

    @Test func `stays while there is no other`() async {
        let place = Place()
        let token = CallerToken("first") { place.text.withLock { $0 } }
        #expect(await !token.isOther(than: "first"))
        place.text.withLock { $0 = nil }
        #expect(await !token.isOther(than: "first"))
        #expect(token.text == "first")
        #expect(await !CallerToken("only").isOther(than: "only"))
    }

    @Test func `is in no description`() {
        let tls = TransferTLS(token: CallerToken("secret"))
        var dumped = ""
        dump(tls, to: &dumped)
        for text in ["\(tls)", String(reflecting: tls), dumped] { #expect(!text.contains("secret")) }
    }
}
