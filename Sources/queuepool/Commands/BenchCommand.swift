// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolBench
import QueuePoolChecking
import QueuePoolSettings

/// `queuepool bench`
struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench",
        abstract: "Measure sends and receives, and check order, duplicates and loss on every message.",
        discussion: """
            Example:
              queuepool bench --api sqs --batch 10 --mode both --seconds 10
              queuepool bench --find-rate 'p99<20ms' --seconds 5
              queuepool bench --json after.json --html after.html
              queuepool bench compare before.json after.json
              queuepool bench scale --shards 1,2,4,8 --quota 300
              queuepool bench scale --processes --shards 8 --quota 300
            Without --endpoint a server of its own is started in a directory of its own, and both are removed \
            afterwards. Ctrl-C or SIGTERM ends the load, prints the figures of what ran and cleans up.
            Exit codes: 0, 1 when a check fails, 3 when a threshold is missed or no rate holds it, 64 for a wrong flag \
            or a pool that is not taken as it is, 69 when the server cannot be reached, 130 or 143 after Ctrl-C or \
            SIGTERM.
            """,
        subcommands: [BenchRunCommand.self, BenchScaleCommand.self, BenchCompareCommand.self],
        defaultSubcommand: BenchRunCommand.self)
}

extension BenchOptions.API: ExpressibleByArgument {}
extension BenchOptions.Mode: ExpressibleByArgument {}
extension BenchOptions.ReceiveFrom: ExpressibleByArgument {}

/// One measurement.
struct BenchRunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "One measurement (also without the word run).",
        discussion: "Example:\n  queuepool bench --api rest --mode drain --messages 100000 --json result.json")

    @OptionGroup(title: "What is measured") var target: BenchTargetOptions
    @OptionGroup(title: "Load") var load: BenchLoadOptions
    @OptionGroup(title: "Result") var result: BenchResultOptions

    func run() async throws {
        try await reportingFailures {
            var options = BenchOptions()
            try await target.fill(&options)
            try load.fill(&options)
            try result.fill(&options)
            let json = result.json
            // JSON on standard output goes alone.
            let row: @Sendable (String) -> Void = { text in
                json == "-" ? writeToStandardError(text + "\n") : writeToStandardOutput(text + "\n")
            }
            guard options.findRate == nil else { return try await findHighestRate(options, row) }
            let report = try await measuring { [options] in
                try runBench(options, version: Queuepool.version, progress: reportPhase, row: row)
            }
            try show(report.text, json: report.json, file: json)
            if let html = result.html { try writeFile(report.html, to: html) }
            if report.isInterrupted { throw interrupted() }
            if report.outages.isAway {
                throw CommandFailure("the server stayed away", status: ExitStatus.unavailable)
            }
            if !report.checks.holds { throw CommandFailure("the checks found violations") }
            let missed = report.verdicts.filter { !$0.isMet }.map(\.threshold.text)
            if !missed.isEmpty {
                throw CommandFailure("missed: " + missed.joined(separator: ", "), status: BenchRunCommand.missedStatus)
            }
        }
    }

    private func findHighestRate(_ options: BenchOptions, _ row: @escaping @Sendable (String) -> Void) async throws {
        let report = try await measuring {
            try findRate(options, version: Queuepool.version, progress: reportPhase, row: row)
        }
        try show(report.text, json: report.json, file: result.json)
        if let html = result.html { try writeFile(report.html, to: html) }
        if report.isInterrupted { throw interrupted() }
        if report.outages.isAway { throw CommandFailure("the server stayed away", status: ExitStatus.unavailable) }
        if !report.checks.holds { throw CommandFailure("the checks found violations") }
        if report.result.rate == nil {
            throw CommandFailure(report.conclusion, status: BenchRunCommand.missedStatus)
        }
    }

    /// A threshold was missed, while every check holds.
    static let missedStatus: Int32 = 3
}

/// What is measured.
struct BenchTargetOptions: ParsableArguments {
    @Option(help: "How messages are sent.") var api = BenchOptions.API.rest
    @Option(help: "Sends, a drain of a backlog, or both at once.") var mode = BenchOptions.Mode.send
    @Option(help: "A running server, http://HOST:PORT; an own one unless set.") var endpoint: String?
    @OptionGroup var token: TokenOptions
    @Option(help: "A given server that is away for longer ends the run; otherwise its load goes on when it is back.")
    var outageSeconds = 120.0
    @Option(help: "A request that is so long without an answer is sent again; without any answer the server is away.")
    var answerSeconds = 10.0
    @Option(help: "Process of that server, whose CPU and memory are read.") var serverPID: Int?
    @Option(help: "The pool, made when it does not exist.") var pool = "bench.fifo"
    @Flag(help: "Take a pool of a running server although messages of others are in it.") var allowNonempty = false
    @Option(help: "Shards of the pool when it is made, 1...256.") var shards = 8
    @Option(help: "Requests per second and API action of each shard; a pool that exists must have the same.")
    var quota: Int?
    @Option(help: "Which queue the receivers name.") var receiveFrom = BenchOptions.ReceiveFrom.pool
    @Option(name: .customLong("server-argument"), help: "A further argument of the own server; may be repeated.")
    var serverArguments: [String] = []
    @Option(help: "Where the own server's data directory is made (default: TMPDIR or /tmp).") var dataDirParent: String?

    func fill(_ options: inout BenchOptions) async throws {
        options.api = api
        options.mode = mode
        options.endpoint = endpoint
        options.token = try await token.benchToken(towards: endpoint)
        options.outageSecondsMax = outageSeconds
        options.answerSecondsMax = answerSeconds
        options.serverPID = serverPID
        options.pool = pool
        options.allowsNonempty = allowNonempty
        options.shards = shards
        options.quota = quota
        options.receiveFrom = receiveFrom
        options.serverArguments = serverArguments
        options.dataDirectoryParent = dataDirParent
    }
}

extension TokenOptions {
    /// The token for a given server; `nil` for an own one, which asks for none.
    func benchToken(towards endpoint: String?) async throws -> BenchToken? {
        guard let endpoint else { return nil }
        var flags = FlagTexts()
        fill(&flags)
        let settings = try await TokenSettings.read(
            flags: flags.byKey, environment: ProcessInfo.processInfo.environment, endpoint: endpoint)
        return try settings.map { BenchToken(try $0.read()) }
    }
}

/// How much load is made.
struct BenchLoadOptions: ParsableArguments {
    @Option(help: "Sending connections, each with one request outstanding, 1...4096.") var connections = 64
    @Option(help: "Receiving connections.") var receivers: Int?
    @Option(help: "Messages a request: rest 1, sqs 1...10, ndjson 1...10000.") var batch: Int?
    @Option(help: "Bytes of a message body, 64...262144.") var bodyBytes = 1_024
    @Option(help: "Message groups, 1...10000000.") var groups = 1_000
    @Option(help: "How often each group is sent: uniform or zipf:S. (default: uniform)") var skew: String?
    @Option(help: "Share of one group, such as 5%; the others are sent alike. Not with --skew.") var hotGroup: String?
    @Option(help: "Messages to send; as many as --seconds allows unless set.") var messages: Int?
    @Option(help: "Length of the measurement.") var seconds = 10.0
    @Option(help: "Load before the measurement, not counted.") var warmUpSeconds = 2.0
    @Option(help: "Messages per second of an open loop; a closed loop unless set.") var rate: Double?
    @Option(help: "Seed of every random choice; always printed.") var seed: UInt64?
    @Option(help: "Seconds a receive waits, 0...20.") var waitSeconds = 1
    @Option(
        name: .customLong("handler-ms"),
        help: "Milliseconds a consumer takes for a message before it deletes it, 1...2000; with --mode both or drain.")
    var handlerMilliseconds: Int?
    @Flag(inversion: .prefixedNo, help: "Whether a drain ends a run of sends, so that a lost message is found.")
    var verify = true

    func validate() throws {
        if skew != nil, hotGroup != nil { throw ValidationError("--skew and --hot-group exclude each other.") }
    }

    func fill(_ options: inout BenchOptions) throws {
        options.connections = connections
        options.receivers = receivers
        options.batch = batch
        options.bodyBytes = bodyBytes
        options.groups = groups
        options.messages = messages
        options.seconds = seconds
        options.warmUpSeconds = warmUpSeconds
        options.rate = rate
        options.seed = seed
        options.waitSeconds = waitSeconds
        options.handlerMilliseconds = handlerMilliseconds
        options.verify = verify
        do {
            options.skew = try hotGroup.map { try GroupSkew(hotGroup: $0) } ?? GroupSkew(skew ?? "uniform")
        } catch {
            throw CommandFailure("\(error)", status: ExitStatus.usage)
        }
    }
}

/// What is told of the measurement.
struct BenchResultOptions: ParsableArguments {
    @Option(help: "File the report is written to as JSON; - for standard output.") var json: String?
    @Option(help: "File the report is written to as one HTML page with plots, which loads nothing.") var html: String?
    @Option(
        help: ArgumentHelp(
            "Seconds between two rows of figures while it runs, 0.1...3600.",
            discussion: "They go to standard output, and to standard error beside --json -."))
    var interval: Double?
    @Option(
        name: .customLong("threshold"),
        help: ArgumentHelp(
            "A condition that ends a run with exit code 3 when it is missed: 'p99<20ms', 'rate>10000'; may be repeated.",
            discussion: """
                p50, p90, p99, p99.9, max (of sends; of receives in a drain) and outage take a time in us, ms or s; \
                rate, received (messages a second), loss, reordered, duplicates, errors and never-sent a number.
                """))
    var thresholds: [String] = []
    @Option(
        help: ArgumentHelp(
            "Look for the highest rate of an open loop that keeps a latency: 'p99<20ms'.",
            discussion: """
                At most \(RateSearch.runsMax) runs of --seconds each, with the pool emptied after each; a rate is held \
                when the latency is, every --threshold too, and 99 % of the due messages were sent. Begins near what a \
                closed loop reaches, or at --rate. Not with --mode drain, --messages or --interval.
                """))
    var findRate: String?

    func validate() throws {
        if html == "-" { throw ValidationError("--html: a file; - is not one.") }
    }

    func fill(_ options: inout BenchOptions) throws {
        options.intervalSeconds = interval
        do {
            options.findRate = try findRate.map { try Threshold($0) }
            options.thresholds = try thresholds.map { try Threshold($0) }
        } catch {
            throw CommandFailure("\(error)", status: ExitStatus.usage)
        }
    }
}

/// Writes at once, so that a row is seen when it is due also through a pipe.
private func writeToStandardOutput(_ text: String) {
    print(text, terminator: "")
    fflush(nil)
}

/// Tells whoever waits what is going on.
func reportPhase(_ phase: String) { writeToStandardError("\(phase) ...\n") }

/// Runs a measurement, which blocks, on a thread of its own. Ctrl-C and SIGTERM end it after it has cleaned up.
func measuring<Report: Sendable>(_ body: @escaping @Sendable () throws -> Report) async throws -> Report {
    Interruption.watch()
    do {
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
        }
    } catch let error where Interruption.isRequested || error is BenchInterrupted {
        // Servers that got the same Ctrl-C may have left before the run noticed it.
        throw interrupted()
    } catch let invalid as InvalidBenchOption {
        throw CommandFailure("\(invalid)", status: ExitStatus.usage)
    } catch let refused as BenchRefused {
        throw refused.status == 401
            ? CommandFailure(
                "the server wants a key that it knows: --\(Setting.tokenFile.flag) FILE or "
                    + "\(Setting.token.environment) has its token (queuepool key create)",
                status: ExitStatus.configuration)
            : CommandFailure(
                "the server refuses: a run needs a key with the rights 'send' and 'receive' on the pool, and 'admin' to "
                    + "make it", status: ExitStatus.noPermission)
    } catch let unfit as PoolUnfit {
        throw CommandFailure("\(unfit)", status: ExitStatus.usage)
    } catch let failure as BenchFailure {
        throw CommandFailure("\(failure)", status: ExitStatus.unavailable)
    }
}

/// The end of a run that a signal ended, with the exit code that a shell reports for it.
func interrupted() -> CommandFailure { CommandFailure("interrupted", status: Interruption.exitStatus) }

/// Prints a report, and writes its JSON where asked for. JSON on standard output goes alone.
func show(_ text: String, json: String, file: String?) throws {
    print(file == "-" ? json : text, terminator: "")
    guard let file, file != "-" else { return }
    try writeFile(json, to: file)
}

/// Writes a report whole or not at all.
func writeFile(_ text: String, to file: String) throws {
    do {
        try Data(text.utf8).write(to: URL(fileURLWithPath: file), options: .atomic)
    } catch {
        throw CommandFailure("'\(file)' cannot be written", status: ExitStatus.inputOutput)
    }
}
