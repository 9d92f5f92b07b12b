// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import QueuePoolWorker
import Synchronization
import Testing

@testable import queuepool

@Suite struct `A worker's progress on a terminal` {
    @Test func `is one line of all that matters`() {
        var summary = WorkerMetrics.Summary()
        summary.delivered = 1_234
        summary.retrying = 3
        summary.held = 120
        summary.underWay = 64
        #expect(
            WorkProgress.text(summary, perSecond: 56, columns: 200)
                == "1234 delivered  56/s  3 retrying  120 held  64 under way  0 dead letters")
        summary.down = ["http://a", "exec:"]
        #expect(WorkProgress.text(summary, perSecond: 56, columns: 200).hasSuffix("  down: http://a, exec:"))
    }

    @Test(arguments: [1, 20, 80])
    func `fits the terminal and holds no control character`(columns: Int) {
        var summary = WorkerMetrics.Summary()
        summary.down = ["http://\u{1B}[2J", String(repeating: "x", count: 500)]
        let text = WorkProgress.text(summary, perSecond: 0, columns: columns)
        #expect(text.count < max(columns, 5))
        #expect(!text.contains("\u{1B}"))
    }

    @Test func `is for a terminal that nobody else writes to, unless other logs were asked for`() async throws {
        func isWanted(
            _ deliver: [String] = ["http://a"], _ more: [Setting: String] = [:], error: Bool = true, output: Bool = true
        ) async throws -> Bool {
            var flags = [Setting.workerPool.key: ["p.fifo"], Setting.workerDeliver.key: deliver]
            for (setting, value) in more { flags[setting.key] = [value] }
            return WorkProgress.isWanted(
                try await WorkSettings(flags: flags, environment: [:]), isErrorTerminal: error, isOutputTerminal: output
            )
        }
        #expect(try await isWanted())
        #expect(try await isWanted(error: false) == false)
        #expect(try await isWanted([], [.logLevel: "debug", .workerDeliver: "http://a"]) == false)
        #expect(try await isWanted([], [.logFormat: "json", .workerDeliver: "http://a"]) == false)
        #expect(try await isWanted(["http://a", "exec:cat"]) == false)
        #expect(try await isWanted(["stdout:"]) == false)
        #expect(try await isWanted(["stdout:"], output: false))
    }
}

@Suite struct `The last line of a terminal` {
    @Test func `is taken away for what others write, and drawn again below it`() {
        let written = Mutex("")
        let line = TerminalLine { text in written.withLock { $0 += text } }
        line.above { written.withLock { $0 += "log\n" } }
        #expect(written.withLock { $0 } == "log\n", "nothing is shown yet")
        line.draw("one")
        line.above { written.withLock { $0 += "log\n" } }
        line.erase()
        line.above { written.withLock { $0 += "end\n" } }
        let clear = "\r\u{1B}[K"
        #expect(written.withLock { $0 } == "log\n\(clear)one\(clear)log\none\(clear)end\n")
    }
}
