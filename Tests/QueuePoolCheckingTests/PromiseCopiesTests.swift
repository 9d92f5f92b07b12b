// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

/// I3: no duplicate is accepted, and none is delivered.
@Suite struct PromiseCopiesTests {
    @Test func `a retry that is told duplicate under the same id is one message`() {
        var story = Story()
        story.send(1)
        let again = story.begin(1)
        story.accept(again, id: 1, isDuplicate: true)
        story.deliver(1)
        story.finish()
        #expect(story.broken == [])
        #expect(story.checker.counts.accepted == 1)
    }

    @Test func `a message that is accepted twice as new is a duplicate`() {
        var story = Story()
        story.send(1)
        let again = story.begin(1)
        story.accept(again, id: 1)
        #expect(story.broken == [.noDuplicate])
        #expect(story.texts == ["was accepted twice as new within the deduplication interval"])
    }

    @Test func `a message that is accepted under two ids is a duplicate`() {
        var story = Story()
        story.send(1)
        let again = story.begin(1)
        story.accept(again, id: 8, isDuplicate: true)
        #expect(story.broken == [.noDuplicate])
        #expect(story.texts == ["was accepted under the ids 1001 and 1008 within the deduplication interval"])
    }

    @Test func `the answers of two tries may change places`() {
        var story = Story()
        let first = story.begin(1)
        let second = story.begin(1)
        story.accept(second, id: 1, isDuplicate: true)
        story.accept(first, id: 1)
        story.deliver(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a retry after the deduplication interval is a message of its own`() {
        var story = Story()
        story.send(1)
        story.deliver(1)
        story.wait(milliseconds: 300_001)
        let again = story.begin(1)
        story.accept(again, id: 8)
        story.hand(1, id: 8)
        story.delete(1)
        story.finish()
        #expect(story.broken == [])
    }

    @Test func `a second copy is worked on like the first, and must not vanish either`() {
        var story = Story()
        story.send(1)
        story.deliver(1)
        story.wait(milliseconds: 300_001)
        let again = story.begin(1)
        story.accept(again, id: 8)
        story.hand(1, id: 8)
        story.hand(1, id: 8)
        #expect(story.broken == [])
        story.finish()
        #expect(story.broken == [.nothingLost])
    }

    @Test func `a retry just within the deduplication interval is not`() {
        var story = Story()
        story.send(1)
        story.wait(milliseconds: 299_990)
        let again = story.begin(1)
        story.accept(again, id: 8)
        #expect(story.broken == [.noDuplicate])
    }

    @Test func `answers that change places around the end of the interval are judged by their requests`() {
        var story = Story()
        let first = story.begin(1)
        story.wait(milliseconds: 300_001)
        let second = story.begin(1)
        story.accept(second, id: 8)
        story.accept(first, id: 1)
        #expect(story.broken == [])
    }

    @Test func `a message that is handed under two ids was stored twice`() {
        var story = Story()
        let lost = story.begin(1)
        story.refuse(lost, isUnknown: true)
        let again = story.begin(1)
        story.refuse(again, isUnknown: true)
        story.hand(1, id: 1)
        story.hand(1, id: 8)
        #expect(story.broken == [.noDuplicate])
    }

    @Test func `a message that is handed under another id than its sender was told was stored twice`() {
        var story = Story()
        let lost = story.begin(1)
        story.refuse(lost, isUnknown: true)
        let again = story.begin(1)
        story.accept(again, id: 8)
        story.hand(1, id: 1)
        #expect(story.broken == [.noDuplicate])
    }

    @Test func `an answer that names another id than the message was handed under tells of a second copy`() {
        var story = Story()
        let first = story.begin(1)
        story.hand(1, id: 1)
        story.accept(first, id: 8)
        #expect(story.broken == [.noDuplicate])
    }

    @Test func `a message that comes again after its delete was acknowledged is a duplicate`() {
        var story = Story()
        story.send(1)
        story.deliver(1)
        story.hand(1)
        #expect(story.broken == [.noDuplicate])
        #expect(story.texts == ["was handed after its delete was acknowledged"])
    }
}
