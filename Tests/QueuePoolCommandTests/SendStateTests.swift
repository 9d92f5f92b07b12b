// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import queuepool

@Suite("What a send remembers")
struct SendStateTests {
    private let head = SendState.Head(endpoint: "http://h", pool: "emails.fifo", runID: "run", fileBytes: 100)

    private func mark(_ bytes: Int) -> SendState.Mark { SendState.Mark(bytes: bytes, sha256: "hash-\(bytes)") }

    private func check(
        _ state: SendState, endpoint: String = "http://h", pool: String = "emails.fifo", bytes: Int = 100
    )
        throws
    {
        try state.check(endpoint: endpoint, pool: pool, fileBytes: bytes) { "hash-\($0)" }
    }

    @Test func `a second run knows the lines that the first acknowledged`() throws {
        var first = SendState(head: head)
        var journal = try SendState.journalLine(head)
        journal += try first.acknowledge([1, 2, 3, 5], mark: mark(40))
        journal += try first.acknowledge([4, 7], mark: mark(70))
        let second = try SendState(journal: journal)
        #expect(second == first)
        #expect((1...8).map(second.isAcknowledged) == [true, true, true, true, true, false, true, false])
        #expect(second.acknowledgedCount == 6)
        #expect(second.head.runID == "run")
        #expect(second.mark == mark(70))
    }

    @Test func `a torn last record is dropped and the rest holds`() throws {
        var state = SendState(head: head)
        var journal = try SendState.journalLine(head)
        journal += try state.acknowledge([1], mark: mark(10))
        let whole = journal.count
        journal += try state.acknowledge([2], mark: mark(20))
        for length in whole..<journal.count {
            let found = try SendState(journal: journal.prefix(length))
            #expect(found.isAcknowledged(1) && !found.isAcknowledged(2), "cut at \(length)")
        }
    }

    @Test func `a journal without a whole head is refused`() throws {
        let whole = try SendState.journalLine(head)
        for bytes in [Data(), Data("{}\n".utf8), Data("\n".utf8), whole.dropLast()] {
            #expect(throws: SendStateMismatch.unreadable) { _ = try SendState(journal: bytes) }
        }
    }

    @Test func `records that make no sense count for nothing`() throws {
        var journal = try SendState.journalLine(head)
        journal += Data(
            #"{"acknowledged":[[0,3],[5,4],[1],[9,9223372036854775807],[7,7]],"mark":{"bytes":1,"sha256":""}}"#.utf8)
        journal += Data("\n".utf8)
        let state = try SendState(journal: journal)
        #expect(state.acknowledgedCount == 1)
        #expect(state.isAcknowledged(7))
    }

    @Test func `another size, content, pool or endpoint is refused`() throws {
        var state = SendState(head: head)
        try check(state)
        _ = try state.acknowledge([1], mark: mark(10))
        try check(state)
        #expect(throws: SendStateMismatch.otherSize(recorded: 100, found: 101)) { try check(state, bytes: 101) }
        #expect(throws: SendStateMismatch.otherTarget(endpoint: "http://h", pool: "emails.fifo")) {
            try check(state, pool: "other.fifo")
        }
        #expect(throws: SendStateMismatch.otherTarget(endpoint: "http://h", pool: "emails.fifo")) {
            try check(state, endpoint: "http://i")
        }
        _ = try state.acknowledge([2], mark: SendState.Mark(bytes: 20, sha256: "of other content"))
        #expect(throws: SendStateMismatch.otherContent) { try check(state) }
    }
}

@Suite("The journal of a send on disk")
struct SendJournalTests {
    private func inTemporaryFile<R>(_ text: String, _ body: (String, Int32) throws -> R) throws -> R {
        let path = FileManager.default.temporaryDirectory.appending(path: "send-\(UUID())").path
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
        let descriptor = open(path, O_RDONLY)
        defer {
            close(descriptor)
            for name in [path, path + ".state"] { try? FileManager.default.removeItem(atPath: name) }
        }
        return try body(path, descriptor)
    }

    private func head(_ text: String, run: String) -> SendState.Head {
        SendState.Head(endpoint: "http://h", pool: "emails.fifo", runID: run, fileBytes: text.utf8.count)
    }

    @Test func `a run that was cut off goes on where it ended, under the same run id`() throws {
        let text = "{}\n{}\n{}\n"
        try inTemporaryFile(text) { path, input in
            do {
                let first = try SendJournal(
                    path: path + ".state", input: input, head: head(text, run: "a"), restart: false)
                let known = SendState.Mark(bytes: 6, sha256: try digestOfPrefix(descriptor: input, bytes: 6))
                try first.acknowledge([1, 2], mark: known)
            }
            let handle = try #require(FileHandle(forWritingAtPath: path + ".state"))
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(#"{"acknowl"#.utf8))
            do {
                let second = try SendJournal(
                    path: path + ".state", input: input, head: head(text, run: "b"), restart: false)
                #expect(second.state.head.runID == "a")
                #expect(second.state.acknowledgedCount == 2)
                try second.acknowledge([3], mark: second.state.mark ?? SendState.Mark(bytes: 0, sha256: ""))
            }
            let third = try SendJournal(path: path + ".state", input: input, head: head(text, run: "c"), restart: false)
            #expect(third.state.acknowledgedCount == 3)
        }
    }

    @Test func `a changed file is refused, and restart forgets`() throws {
        let text = "{}\n{}\n"
        try inTemporaryFile(text) { path, input in
            do {
                let first = try SendJournal(
                    path: path + ".state", input: input, head: head(text, run: "a"), restart: false)
                try first.acknowledge([1], mark: SendState.Mark(bytes: 3, sha256: "hash of other content"))
            }
            #expect {
                _ = try SendJournal(path: path + ".state", input: input, head: head(text, run: "b"), restart: false)
            } throws: { error in
                (error as? CommandFailure)?.description.contains("--restart") == true
            }
            let fresh = try SendJournal(path: path + ".state", input: input, head: head(text, run: "c"), restart: true)
            #expect(fresh.state.acknowledgedCount == 0)
            #expect(fresh.state.head.runID == "c")
        }
    }

    @Test func `two sends of one file at once are refused`() throws {
        try inTemporaryFile("{}\n") { path, input in
            let first = try SendJournal(
                path: path + ".state", input: input, head: head("{}\n", run: "a"), restart: false)
            #expect(throws: CommandFailure.self) {
                _ = try SendJournal(path: path + ".state", input: input, head: head("{}\n", run: "b"), restart: false)
            }
            withExtendedLifetime(first) {}
        }
    }
}
