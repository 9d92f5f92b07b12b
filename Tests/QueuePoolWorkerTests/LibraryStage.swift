// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolTestSupport
import ServiceLifecycleTestKit
import Synchronization
import Testing

@testable import QueuePoolWorker

/// A worker of a queue in memory. The worker's time passes only while a test waits for something.
final class LibraryStage: Sendable {
    typealias Handler = @Sendable (Message) async throws -> Void

    let queue = LibraryQueue()
    let clock = ManualClock()
    private let seen = Mutex<(delivered: [Message], options: Worker.Options)>(([], LibraryStage.patient))
    private let lines = LogLines()

    private static var patient: Worker.Options {
        var options = Worker.Options()
        options.visibilitySeconds = 43_200
        return options
    }

    /// What the handlers noted, in that order.
    var delivered: [Message] { seen.withLock { $0.delivered } }
    var options: Worker.Options {
        get { seen.withLock { $0.options } }
        set { seen.withLock { $0.options = newValue } }
    }
    var log: String { lines.text }

    func note(_ message: Message) { seen.withLock { $0.delivered.append(message) } }

    func worker(_ handler: @escaping Handler) throws -> Worker {
        try Worker(
            pool: "p.fifo", queue: queue, options: options,
            logger: Logger(label: "test") { [lines] _ in LinesHandler(lines: lines) }, clock: clock,
            target: ClosureTarget(body: handler))
    }

    /// Runs a worker until `isDone`, and lets it stop.
    func run(_ handler: @escaping Handler, until isDone: @escaping @Sendable () -> Bool) async throws {
        try await runGracefully(handler, until: isDone, then: {})
    }

    /// Runs a worker until `isDone`, tells it to stop, does `then`, and waits for its end.
    func runGracefully(
        _ handler: @escaping Handler, until isDone: @escaping @Sendable () -> Bool,
        then: @escaping @Sendable () async -> Void
    ) async throws {
        let worker = try worker(handler)
        try await testGracefulShutdown { trigger in
            let isOver = Atomic(false)
            let running = Task {
                defer { isOver.store(true, ordering: .releasing) }
                try await worker.run()
            }
            await eventually(isDone)
            trigger.triggerGracefulShutdown()
            await then()
            await eventually { isOver.load(ordering: .acquiring) }
            try await running.value
        }
    }

    /// Lets the worker's time pass until something is so.
    /// - Parameter upTo: milliseconds after which time stands still.
    func eventually(upTo: Int64 = .max, _ isSo: @escaping @Sendable () -> Bool) async {
        let limit = ContinuousClock.now + .seconds(120)
        let began = clock.now()
        while !isSo() {
            guard ContinuousClock.now < limit else {
                Issue.record("what was waited for did not happen")
                return
            }
            if clock.now() - began < upTo { clock.advance(milliseconds: 100) }
            try? await Task.sleep(for: .milliseconds(1))
        }
    }
}

/// What was logged, as text.
private final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])

    var text: String { lines.withLock { $0.joined(separator: "\n") } }
    func add(_ line: String) { lines.withLock { $0.append(line) } }
}

private struct LinesHandler: LogHandler {
    let lines: LogLines
    var logLevel = Logger.Level.trace
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { lines.add("\(event.message) \(event.metadata ?? [:])") }
}
