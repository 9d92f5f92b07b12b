// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QueuePoolBench

/// Throughput against the number of shards.
struct BenchScaleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scale", abstract: "Measure how messages per second grow with the number of shards.",
        discussion: """
            Example:
              queuepool bench scale --shards 1,2,4,8 --quota 300
              queuepool bench scale --connections 1,2,4,16,64,256 --html curve.html
              queuepool bench scale --processes --shards 8 --quota 300 --json result.json
              queuepool bench scale --endpoint http://127.0.0.1:9324 --pool emails.fifo --quota 300
            With several numbers of connections the steps are those, over a pool of 8 shards without a quota unless \
            set, and messages go one by one unless --batch is set. With --processes the shards are queues of servers of their own, with a router over them: what goes through \
            it at the quota, what batches, requests and latency are below it, and what the router adds to a send. \
            --endpoint measures the same at a running router, over the pool that it has, which must be empty; it \
            stays as it is, but for some hundred messages of the last measurement, which nobody receives.
            """)

    @Option(help: "Numbers of shards, separated by commas; the pool's own with --endpoint. (default: 1,2,4,8)")
    var shards: String?
    @Option(
        help: """
            Requests per second and API action of each shard; the pool's own with --endpoint, if it has one; none \
            with several numbers of connections. (default: 300)
            """)
    var quota: Int?
    @Flag(help: "Queues of a server a shard and a router over them, each a process.") var processes = false
    @Option(help: "A running router, http://HOST:PORT, over queues of any service.") var endpoint: String?
    @OptionGroup var token: TokenOptions
    @Option(help: "Process of that router, whose CPU is read.") var serverPID: Int?
    @Option(help: "The pool of a running router. (default: bench.fifo)") var pool: String?
    @Flag(help: "Take a running router's pool although messages of others are in it.") var allowNonempty = false
    @Option(help: "How messages are sent; rest unless set with --processes or --endpoint, otherwise sqs.")
    var api: BenchOptions.API?
    @Option(help: "What each step measures; send unless set. Not with --processes or --endpoint.")
    var mode: BenchOptions.Mode?
    @Option(
        help: "Messages per second of each step in an open loop; instead of their loads with --processes, --endpoint.")
    var rate: Double?
    @Option(help: "Messages a request; sqs 10 unless set. Not with --processes or --endpoint.") var batch: Int?
    @Option(help: "How often each group is sent: uniform or zipf:S. (default: uniform)") var skew: String?
    @Option(help: "Share of one group, such as 5%; the others are sent alike. Not with --skew.") var hotGroup: String?
    @Option(
        name: .customLong("threshold"),
        help: """
            A condition of every step, as of bench run; may be repeated. With --processes or --endpoint it is judged \
            at --rate, or where as much is sent as goes through.
            """)
    var thresholds: [String] = []
    @Option(
        help: """
            Sending connections, of each shard with --processes or --endpoint; several numbers, separated by commas, \
            measure each of them.
            """)
    var connections = "128"
    @Option(help: "Bytes of a message body.") var bodyBytes = 1_024
    @Option(help: "Message groups.") var groups = 65_536
    @Option(help: "Length of each measurement.") var seconds = 8.0
    @Option(help: "Load before each measurement, not counted.") var warmUpSeconds = 3.0
    @Option(help: "Pairs of single sends that the router's latency is read from.") var latencyPairs = 250
    @Option(help: "Seed of every random choice.") var seed: UInt64?
    @Flag(help: "Drain and check every step; takes as long again. Always so with --processes or --endpoint.")
    var verify = false
    @Option(help: "Where data directories are made (default: TMPDIR or /tmp).") var dataDirParent: String?
    @Option(help: "File the report is written to as JSON; - for standard output.") var json: String?
    @Option(help: "File the report is written to as one HTML page with a plot, which loads nothing.") var html: String?

    private var isOverQueues: Bool { processes || endpoint != nil }
    private var isCurve: Bool { connections.contains(",") }

    func validate() throws {
        if html == "-" { throw ValidationError("--html: a file; - is not one.") }
        if processes, endpoint != nil { throw ValidationError("--processes and --endpoint exclude each other.") }
        if endpoint == nil, allowNonempty { throw ValidationError("--allow-nonempty: only with --endpoint.") }
        if endpoint != nil, shards != nil { throw ValidationError("--shards: with --endpoint the pool has its own.") }
        if skew != nil, hotGroup != nil { throw ValidationError("--skew and --hot-group exclude each other.") }
        if isOverQueues {
            let given = [
                ("--mode", mode != nil), ("--batch", batch != nil), ("--connections", isCurve),
            ]
            if let (name, _) = given.first(where: \.1) {
                throw ValidationError("\(name): not so with --processes or --endpoint, which have loads of their own.")
            }
        }
        if endpoint == nil, pool != nil { throw ValidationError("--pool: only with --endpoint.") }
        if endpoint == nil, serverPID != nil { throw ValidationError("--server-pid: only with --endpoint.") }
    }

    func run() async throws {
        try await reportingFailures {
            if isOverQueues {
                try await runOverQueues()
            } else if isCurve {
                try await runCurve()
            } else {
                try await runEmbedded()
            }
        }
    }

    private func runCurve() async throws {
        var options = ConnectionCurveOptions()
        options.scale = try scaleOptions()
        if shards == nil { options.scale.shardCounts = [8] }
        options.connectionCounts = try numbers(connections, of: "--connections", allowed: "1...4096")
        options.quota = quota
        let report = try await measuring { [options] in
            try runConnectionCurve(options, version: Queuepool.version, progress: reportPhase)
        }
        try show(report.text, json: report.json, file: json)
        if let html { try writeFile(report.html, to: html) }
        if report.isInterrupted { throw interrupted() }
        if !report.holds { throw CommandFailure("the checks found violations") }
        try requireNothing(missed: report.missed)
    }

    private func runEmbedded() async throws {
        let options = try scaleOptions()
        let report = try await measuring {
            try runScale(options, version: Queuepool.version, progress: reportPhase)
        }
        try show(report.text, json: report.json, file: json)
        if let html { try writeFile(report.html, to: html) }
        if report.isInterrupted { throw interrupted() }
        if !report.holds { throw CommandFailure("the checks found violations") }
        if !report.reachesRatio { throw BenchScaleCommand.belowRatio }
        try requireNothing(missed: report.missed)
    }

    private func requireNothing(missed: [String]) throws {
        guard !missed.isEmpty else { return }
        throw CommandFailure("missed: " + missed.joined(separator: ", "), status: BenchRunCommand.missedStatus)
    }

    private func runOverQueues() async throws {
        var options = ProcessScaleOptions()
        options.scale = try scaleOptions()
        options.endpoint = endpoint
        options.token = try await token.benchToken(towards: endpoint)
        options.serverPID = serverPID
        options.pool = pool ?? options.pool
        options.allowsNonempty = allowNonempty
        options.latencyPairs = latencyPairs
        let report = try await measuring { [options] in
            try runProcessScale(options, version: Queuepool.version, progress: reportPhase)
        }
        try show(report.text, json: report.json, file: json)
        if let html { try writeFile(report.html, to: html) }
        if !report.holds { throw CommandFailure("the checks found violations, or a process ended badly") }
        if !report.reachesRatio { throw BenchScaleCommand.belowRatio }
        try requireNothing(missed: report.missed)
    }

    private static let belowRatio = CommandFailure(
        "less than \(ScaleReport.ratioMin) of the quota, or of the rate, went through at some number of shards")

    private func scaleOptions() throws -> ScaleOptions {
        var options = ScaleOptions()
        if let shards { options.shardCounts = try numbers(shards, of: "--shards", allowed: "1...256") }
        options.quota = quota ?? options.quota
        options.api = api ?? (isOverQueues ? .rest : .sqs)
        options.mode = mode ?? .send
        options.rate = rate
        options.batch = batch
        do {
            options.skew = try hotGroup.map { try GroupSkew(hotGroup: $0) } ?? GroupSkew(skew ?? "uniform")
            options.thresholds = try thresholds.map { try Threshold($0) }
        } catch {
            throw CommandFailure("\(error)", status: ExitStatus.usage)
        }
        if !isCurve {
            options.connections =
                try numbers(connections, of: "--connections", allowed: "1...4096").first ?? options.connections
        }
        options.bodyBytes = bodyBytes
        options.groups = groups
        options.seconds = seconds
        options.warmUpSeconds = warmUpSeconds
        options.seed = seed
        options.verify = verify
        options.dataDirectoryParent = dataDirParent
        return options
    }

    private func numbers(_ text: String, of flag: String, allowed: String) throws -> [Int] {
        try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
            guard let count = Int(part) else {
                throw CommandFailure(
                    "\(flag): '\(text)' is not a list of numbers; allowed: \(allowed), separated by commas",
                    status: ExitStatus.usage)
            }
            return count
        }
    }
}
