// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolRuntime

/// Sends the lines of one input, chunk after chunk.
struct SendRun {
    /// Bounds of one request; a single longer line still goes, alone.
    static let linesMax = 1_000
    static let bytesMax = 4_194_304
    /// Refused lines that are shown one by one.
    static let refusalsShownMax = 100

    let client: any HTTPClient
    let url: String
    let runID: String
    /// `nil`: nothing is remembered, as with standard input.
    let journal: SendJournal?
    let display: Display
    private var answers = true
    private let clock: any Clock
    private let start: Timestamp
    private var lastBar: Timestamp?
    private(set) var progress = SendProgress()

    /// How progress is shown on standard error.
    enum Display: Sendable {
        case nothing
        /// A bar that is drawn over, for a terminal.
        case bar
        /// A line a second, for a file.
        case lines
    }

    /// - Parameters:
    ///   - bytesTotal: the length of the input; `nil` if nobody knows.
    ///   - clock: of the waits between tries, and of what is shown.
    init(
        client: any HTTPClient, url: String, runID: String, journal: SendJournal?, bytesTotal: Int?, display: Display,
        clock: any Clock = SystemClock()
    ) {
        self.clock = clock
        start = clock.now()
        self.client = client
        self.url = url
        self.runID = runID
        self.journal = journal
        self.display = display
        progress.bytesTotal = bytesTotal
    }

    var elapsedSeconds: Double { Double(clock.now() - start) / 1_000 }

    /// - Throws: `CommandFailure` when the send cannot go on, `CancellationError` after Ctrl-C. What was acknowledged is
    ///   remembered in either case.
    mutating func run(descriptor: Int32) async throws {
        var reader = LineReader(descriptor: descriptor)
        var atEnd = false
        while !atEnd {
            var lines: [OutgoingLine] = []
            var bytes = 0
            while lines.count < SendRun.linesMax, bytes < SendRun.bytesMax {
                guard let line = try await reader.next() else {
                    atEnd = true
                    break
                }
                guard let outgoing = admit(line) else { continue }
                lines.append(outgoing)
                bytes += outgoing.bytes.count
            }
            if !lines.isEmpty { try await deliver(lines, mark: reader.mark) }
            progress.bytesRead = reader.bytesRead
            show(final: atEnd)
        }
    }

    /// The line as it is sent; `nil` when it is blank, sent before, or too long.
    private mutating func admit(_ line: LineReader.Line) -> OutgoingLine? {
        guard let content = line.content else {
            report(RefusedLine(number: line.number, reason: "longer than \(OutgoingLine.bytesMax) bytes"))
            return nil
        }
        guard !content.allSatisfy(OutgoingLine.isBlank) else { return nil }
        if journal?.state.isAcknowledged(line.number) == true {
            progress.alreadySent += 1
            return nil
        }
        return OutgoingLine(number: line.number, content: content, runID: runID)
    }

    private mutating func deliver(_ lines: [OutgoingLine], mark: SendState.Mark) async throws {
        var chunk = ChunkDelivery(lines)
        while true {
            try Task.checkCancellation()
            let request = ClientRequest(
                method: "POST", url: url, contentType: "application/x-ndjson", body: chunk.body)
            let reply: ChunkDelivery.Reply
            do {
                reply = .answer(try await client.perform(request))
                tell(answers: true)
            } catch {
                reply = .none(error)
                if !error.isUntrusted { tell(answers: false) }
            }
            let settled = chunk.handle(reply, chance: Double.random(in: 0..<1))
            try journal?.acknowledge(settled.acknowledged, mark: mark)
            progress.sent += settled.acknowledged.count
            progress.duplicates += settled.duplicates
            for refusal in settled.refused { report(refusal) }
            switch settled.step {
            case .done: return
            case .stop(let failure): throw failure
            case .again(let seconds):
                show(final: false)
                await clock.sleep(milliseconds: Int64(seconds * 1_000))
            }
        }
    }

    private mutating func report(_ refusal: RefusedLine) {
        progress.refused += 1
        guard progress.refused <= SendRun.refusalsShownMax else { return }
        clearBar()
        writeToStandardError("line \(refusal.number): \(refusal.reason)\n")
        if progress.refused == SendRun.refusalsShownMax { writeToStandardError("further refused lines are counted\n") }
    }

    // MARK: - Terminal -

    /// Says once that the server is lost, and once that it is back.
    private mutating func tell(answers now: Bool) {
        guard answers != now else { return }
        answers = now
        clearBar()
        writeToStandardError(
            now ? "connected again; sending goes on\n" : "the server does not answer; connecting again\n")
    }

    /// Shows the bar at most ten times a second, or a line at most once.
    private mutating func show(final: Bool) {
        let now = clock.now()
        let pause: Int64 = display == .bar ? 100 : 1_000
        guard display != .nothing, final || lastBar.map({ now - $0 > pause }) ?? true else { return }
        lastBar = now
        let text = progress.bar(elapsedSeconds: elapsedSeconds)
        writeToStandardError(display == .bar ? "\r\u{1B}[K" + text : text + "\n")
    }

    func clearBar() {
        if display == .bar { writeToStandardError("\r\u{1B}[K") }
    }
}
