// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

/// I2: a group's messages are delivered in one order.
@Suite struct PromiseOrderTests {
    // MARK: - By time -

    @Test func `messages that were accepted one after another and come so break nothing`() {
        var story = Story()
        story.send(1, 2, 3)
        story.deliver(1, 2, 3)
        story.finish()
        #expect(story.broken == [])
        #expect(story.checker.counts.handed == 3)
    }

    @Test func `a message that comes before one that was accepted before it began breaks the order`() {
        var story = Story()
        story.send(1, 2)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [.order])
        #expect(story.texts == ["was handed before message 1, which was accepted before it began"])
        #expect(story.checker.violations.first?.message == 2)
    }

    @Test func `messages under way at once may come in either order`() {
        var story = Story()
        let first = story.begin(1)
        let second = story.begin(2)
        story.accept(first, id: 1)
        story.accept(second, id: 2)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that is tried again keeps the place of its first try`() {
        var story = Story()
        let lost = story.begin(1)
        story.refuse(lost, isUnknown: true)
        story.send(2)
        let again = story.begin(1)
        story.accept(again, id: 1, isDuplicate: true)
        story.deliver(1, 2)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `an answer that says duplicate is an acceptance too`() {
        var story = Story()
        let lost = story.begin(1)
        story.refuse(lost, isUnknown: true)
        let again = story.begin(1)
        story.accept(again, id: 1, isDuplicate: true)
        story.send(2)
        story.deliver(2, 1)
        #expect(story.broken == [.order])
    }

    @Test func `other groups have an order of their own`() {
        var story = Story()
        story.send(1, group: 7)
        story.send(2, group: 8)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `dead and expired messages hold up nobody though they were never handed`() {
        var story = Story()
        story.send(1, 2, 3)
        story.deadLetter(1)
        story.expire(2)
        story.deliver(3)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a message that is overtaken by many is reported once`() {
        var story = Story()
        story.send(1, 2, 3, 4)
        story.deliver(2, 3, 4, 1)
        story.finish()
        #expect(story.broken == [.order])
    }

    @Test func `a message that is handed before its answer is back holds up nobody`() {
        var story = Story()
        let first = story.begin(1)
        story.deliver(1)
        story.accept(first, id: 1)
        story.send(2)
        story.deliver(2)
        story.finish()
        #expect(story.broken == [])
    }

    // MARK: - Within a request -

    @Test func `entries of one request come in their order`() {
        var story = Story()
        let request = story.begin(1, 2, 3)
        for (entry, message) in [(2, 3), (0, 1), (1, 2)] { story.accept(request, entry, id: message) }
        story.deliver(1, 2, 3)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `entries of one request that change places break the order`() {
        var story = Story()
        let request = story.begin(1, 2)
        story.accept(request, 0, id: 1)
        story.accept(request, 1, id: 2)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [.order])
        #expect(story.texts == ["was handed before message 1, which stood before it in every request"])
    }

    @Test func `entries of other groups in between change nothing`() {
        var story = Story()
        let request = story.begin(entries: [(1, 0), (5, 1), (2, 0), (6, 1)])
        for (entry, message) in [1, 5, 2, 6].enumerated() { story.accept(request, entry, id: message) }
        story.deliver(5, 6, 2, 1)
        #expect(story.broken == [.order])
        #expect(story.checker.violations.first?.message == 2)
    }

    @Test func `entries that were tried again one by one follow the tries that stored them`() {
        var story = Story()
        let request = story.begin(1, 2)
        story.refuse(request, 0, isUnknown: true)
        story.refuse(request, 1, isUnknown: true)
        let second = story.begin(2)
        let first = story.begin(1)
        story.accept(second, id: 2)
        story.accept(first, id: 1)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `an earlier try alone may have stored the later entry`() {
        var story = Story()
        let alone = story.begin(2)
        story.refuse(alone, isUnknown: true)
        let request = story.begin(1, 2)
        story.accept(request, 0, id: 1)
        story.accept(request, 1, id: 2, isDuplicate: true)
        story.deliver(2, 1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `entries that stood in the same order in every try keep it`() {
        var story = Story()
        let request = story.begin(1, 2)
        story.refuse(request, 0, isUnknown: true)
        story.refuse(request, 1)
        let again = story.begin(1, 2)
        story.accept(again, 0, id: 1, isDuplicate: true)
        story.accept(again, 1, id: 2)
        story.deliver(2, 1)
        #expect(story.broken == [.order])
    }

    @Test func `the same message twice in one request stands before nothing of itself`() {
        var story = Story()
        let request = story.begin(1, 1)
        story.accept(request, 0, id: 1)
        story.accept(request, 1, id: 1, isDuplicate: true)
        story.deliver(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test(arguments: [false, true])
    func `a long request of many groups keeps the order of each`(isSwapped: Bool) {
        var story = Story()
        let count = 60
        let request = story.begin(entries: (0..<count).map { ($0, $0 % 7) })
        for entry in 0..<count { story.accept(request, entry, id: entry, shard: entry % 7) }
        var order = Array(0..<count)
        if isSwapped { order.swapAt(50, 57) }
        for message in order { story.deliver(message) }
        story.finish()
        #expect(story.broken == (isSwapped ? [.order] : []))
    }

    // MARK: - Entries that fail -

    @Test(arguments: [false, true])
    func `an entry that fails, for certain or in doubt, takes the later ones of its group along`(isUnknown: Bool) {
        var story = Story()
        let request = story.begin(entries: [(1, 0), (2, 0), (5, 1), (3, 0)])
        story.accept(request, 0, id: 1)
        story.refuse(request, 3)
        story.refuse(request, 1, isUnknown: isUnknown)
        story.accept(request, 2, id: 5)
        story.deliver(1, 5)
        story.finish()
        #expect(story.broken == [])
    }

    @Test(arguments: [false, true], [false, true])
    func `an entry that is accepted behind a failed one breaks the order`(isUnknown: Bool, isInOrder: Bool) {
        var story = Story()
        let request = story.begin(entries: [(1, 0), (5, 1), (2, 0)])
        if isInOrder { story.refuse(request, 0, isUnknown: isUnknown) }
        story.accept(request, 2, id: 2)
        #expect(story.broken == [], "the request is not completely answered")
        if !isInOrder { story.refuse(request, 0, isUnknown: isUnknown) }
        story.accept(request, 1, id: 5)
        #expect(story.broken == [.order])
        #expect(story.texts == ["was accepted though an earlier entry of its group in the request failed"])
    }

    @Test func `a failure counts in its own request only`() {
        var story = Story()
        let failed = story.begin(1)
        story.refuse(failed)
        let request = story.begin(2, 3)
        story.accept(request, 0, id: 2)
        story.accept(request, 1, id: 3)
        story.deliver(2, 3)
        story.finish()
        #expect(story.broken == [])
    }
}
