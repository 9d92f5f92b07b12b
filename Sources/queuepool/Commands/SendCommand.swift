// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import QueuePoolCore
import QueuePoolSettings

/// `queuepool send`
struct SendCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "send",
        abstract: "Send messages from a file or standard input, one JSON object a line.",
        discussion: """
            Example:
              echo '{"group":"c-1","body":"hello"}' | queuepool send --pool emails.fifo
              queuepool send --pool emails.fifo messages.ndjson
              queuepool send --pool emails.fifo --emails emails.ndjson
            A line is {"group": ..., "body": ...} with deduplicationId and attributes if wanted, or with --emails \
            {"from": ..., "to": ..., "subject": ..., "text": ...}. What the server has \
            acknowledged of a file is remembered in FILE.queuepool-sent: a second run of the same file sends nothing \
            twice, and one that was cut off goes on where it ended. Lines that the server refuses are named by number, \
            and the exit code is then 1.
            """)

    @OptionGroup var client: ClientOptions
    @Option(help: "The pool to send to.") var pool: String
    @Option(help: "State file (default: FILE.queuepool-sent).") var state: String?
    @Flag(help: "Forget what an earlier run has sent, and send the whole file anew.") var restart = false
    @Option(
        help: ArgumentHelp(
            "With standard input: the name of this input.",
            discussion: "A repetition with the same name and lines within 5 minutes sends nothing twice."))
    var runID: String?
    @Flag(help: "The lines are emails rather than messages.") var emails = false
    @Flag(help: "Show progress on standard error, also when that is no terminal.") var progress = false
    @Argument(help: "File of JSON lines; - for standard input.") var file = "-"

    func validate() throws {
        guard PoolName(pool) != nil else {
            throw ValidationError(
                "--pool: '\(pool)' is not a pool's name; allowed: 1...75 of A-Z a-z 0-9 - _, then .fifo")
        }
        if let runID, !(1...100).contains(runID.utf8.count) {
            throw ValidationError("--run-id: allowed: 1...100 bytes")
        }
        if file == "-", state != nil || restart { throw ValidationError("--state and --restart need a file") }
        if file != "-", runID != nil { throw ValidationError("--run-id is for standard input only") }
    }

    func run() async throws {
        try await reportingFailures {
            let settings = try await client.settings()
            let report = try await untilInterrupted { try await send(to: settings) }
            print(report.progress.summary(elapsedSeconds: report.elapsedSeconds))
            if let failure = report.failure { throw failure }
            if report.progress.refused > 0 { throw CommandFailure("\(report.progress.refused) lines were refused") }
        }
    }

    /// What a send came to, also when it ended early.
    private struct Report: Sendable {
        var progress: SendProgress
        var elapsedSeconds: Double
        var failure: CommandFailure?
    }

    private func send(to settings: ClientSettings) async throws -> Report {
        let endpoint = settings.endpoint
        let input = try openInput()
        defer { if input.descriptor != STDIN_FILENO { close(input.descriptor) } }
        let http = try makeHTTPClient(settings)
        // No state is kept for a pool that isn't there.
        if input.bytes != nil { try await checkPool(endpoint, http) }
        let journal = try input.bytes.map { try openJournal(endpoint: endpoint, input: input.descriptor, bytes: $0) }
        var run = SendRun(
            client: http, url: "\(endpoint)/v1/pools/\(pool)/\(emails ? "emails" : "messages")",
            runID: journal?.state.head.runID ?? runID ?? freshRunID(), journal: journal, bytesTotal: input.bytes,
            display: isatty(STDERR_FILENO) == 1 ? .bar : progress ? .lines : .nothing)
        var failure: CommandFailure?
        do {
            try await run.run(descriptor: input.descriptor)
        } catch is CancellationError {
            failure = CommandFailure("interrupted", status: ExitStatus.interrupted)
        } catch let known as CommandFailure {
            failure = known
        }
        run.clearBar()
        return Report(progress: run.progress, elapsedSeconds: run.elapsedSeconds, failure: failure)
    }

    /// Whatever else the server says, or if it says nothing, is for the sending to deal with.
    private func checkPool(_ endpoint: String, _ http: any HTTPClient) async throws(CommandFailure) {
        let request = ClientRequest(method: "GET", url: "\(endpoint)/v1/pools/\(pool)")
        let answer: ClientAnswer
        do throws(NoAnswer) { answer = try await http.perform(request) } catch {
            // It will say nothing to the sending either.
            if error.isUntrusted { throw error.failure }
            return
        }
        if let failure = answer.accessFailure { throw failure }
        guard answer.status == 404 else { return }
        throw CommandFailure("the server refused the request: \(Problem(of: answer).summary)")
    }

    // MARK: - Input -

    private func openInput() throws(CommandFailure) -> (descriptor: Int32, bytes: Int?) {
        guard file != "-" else { return (STDIN_FILENO, nil) }
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw CommandFailure("'\(file)' cannot be opened: \(systemMessage(errno))", status: ExitStatus.noInput)
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw CommandFailure("'\(file)' is not a file; a pipe is read with -", status: ExitStatus.noInput)
        }
        return (descriptor, Int(status.st_size))
    }

    private func openJournal(endpoint: String, input: Int32, bytes: Int) throws -> SendJournal {
        let head = SendState.Head(
            endpoint: endpoint, pool: pool, runID: freshRunID(), fileBytes: bytes, emails: emails ? true : nil)
        return try SendJournal(
            path: state ?? file + ".queuepool-sent", input: input, head: head, restart: restart)
    }

    private func freshRunID() -> String {
        var source = SystemRandomNumberGenerator()
        return String(source.next(), radix: 36) + String(source.next(), radix: 36)
    }
}
