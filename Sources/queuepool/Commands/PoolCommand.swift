// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolSettings

/// `queuepool pool`
struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool",
        abstract: "List, show, create, adopt, verify, purge and delete pools.",
        discussion: """
            Example:
              queuepool pool create emails.fifo --shards 8
              queuepool pool show emails.fifo
              queuepool pool create emails.fifo --backend sqs --shards 16 --control dynamodb:queuepool
            """,
        subcommands: [List.self, Show.self, Create.self, Adopt.self, Verify.self, Purge.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all pools.", discussion: "Example:\n  queuepool pool list --json")
        @OptionGroup var output: PoolOutput

        func run() async throws {
            try await output.run(.get("/v1/pools"), as: PoolList.self) { TextTable($0).text }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a pool; one that exists alike is left as it is.",
            discussion: """
                Example:
                  queuepool pool create emails.fifo --shards 8 --quota 300
                  queuepool pool create emails.fifo --backend sqs --shards 16 --control dynamodb:queuepool
                With --backend sqs the table, the FIFO queues and the dead-letter queue are made where they are missing, \
                and the pool is written to the control store. It may be repeated after an interruption.
                  queuepool pool create emails.fifo --backend sqs --shards 8 --control dynamodb:queuepool \\
                    --shard-region 4-7=us-west-2 --shard-role 4-7=arn:aws:iam::222222222222:role/queues
                  queuepool pool create emails.fifo --backend sqs --shards 8 --control dynamodb:queuepool \\
                    --bodies s3://my-bodies --bodies-encryption aws:kms
                Bodies that are too large for a queue lie in S3, where Amazon's extended clients read them. Whoever \
                deletes a message removes its body; a rule of the bucket lets go what nobody removed.
                Shards may be in several regions, accounts and endpoints; each of these has a dead-letter queue of its \
                own, and they are the shards of the pool's dead-letter queue.
                """)
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @Option(help: "Shards, 1...256.") var shards: Int
        @Option(help: "Requests per second and API action of each shard; none unless set.") var quota: Int?
        @Option(help: "What the shards are: embedded, made by the server at --endpoint, or sqs.")
        var backend = PoolBackend.embedded
        @OptionGroup(title: "Queues of SQS") var queues: QueueOptions
        @OptionGroup(title: "Places of single shards (with --backend sqs)") var places: PlaceOptions
        @OptionGroup(title: "Large bodies (with --backend sqs)") var bodies: LargeBodyOptions
        @OptionGroup(title: "Control store (with --backend sqs)") var control: ControlOptions
        @OptionGroup var output: PoolOutput

        func validate() throws {
            guard (1...Topology.shardsMax).contains(shards) else {
                throw ValidationError("--shards: \(shards); allowed: 1...\(Topology.shardsMax)")
            }
            if let quota, !(1...1_000_000).contains(quota) {
                throw ValidationError("--quota: \(quota); allowed: 1...1000000")
            }
            try places.check(shards: shards, backend: backend)
            try bodies.check(backend: backend)
        }

        func run() async throws {
            if backend == .sqs { return try await createOnSQS() }
            let body = try JSONEncoder().encode(PoolCreation(name: name.text, shards: shards, quota: quota))
            try await output.run(.post("/v1/pools", body: body), as: PoolDetail.self) { TextTable($0).text }
        }
    }

    struct Adopt: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a pool of FIFO queues that exist in SQS.",
            discussion: """
                Example:
                  queuepool pool adopt emails.fifo --control dynamodb:queuepool \\
                    --queue https://sqs.eu-central-1.amazonaws.com/123456789012/a.fifo \\
                    --queue https://sqs.eu-central-1.amazonaws.com/123456789012/b.fifo
                The first queue's settings are the pool's; the others must have the same. It may be repeated.
                """)
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @Option(name: .customLong("queue"), help: "URL of a FIFO queue; repeated, in the order of the shards.")
        var queues: [String]
        @Option(help: "Requests per second and API action of each shard; none unless set.") var quota: Int?
        @OptionGroup(title: "Places of single shards") var places: PlaceOptions
        @OptionGroup(title: "Large bodies") var bodies: LargeBodyOptions
        @OptionGroup(title: "Control store") var control: ControlOptions

        func validate() throws {
            guard (1...Topology.shardsMax).contains(queues.count) else {
                throw ValidationError("--queue: \(queues.count) URLs; allowed: 1...\(Topology.shardsMax)")
            }
            try places.check(shards: queues.count, backend: .sqs)
            // Two regions of one endpoint may give their queues the same URL.
            let places = try places.places(ShardPlace(region: ""), shards: queues.count)
            guard Set(queues.enumerated().map { places[$0].address($1) }).count == queues.count else {
                throw ValidationError("--queue: a URL is there twice in one region, endpoint and role")
            }
        }

        func run() async throws { try await adoptOnSQS() }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Compare a pool's queues in SQS with what they should be.",
            discussion: """
                Example:
                  queuepool pool verify emails.fifo --control dynamodb:queuepool
                Prints a line for each difference; the exit code is 1 if there is any.
                """)
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @OptionGroup(title: "Control store") var control: ControlOptions

        func run() async throws { try await verifyOnSQS() }
    }

    struct Purge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove every message of a pool.",
            discussion: "Example:\n  queuepool pool purge emails.fifo --yes")
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @Flag(help: "Needed, because the messages cannot be brought back.") var yes = false
        @OptionGroup var output: PoolOutput

        func validate() throws {
            if !yes { throw ValidationError("messages cannot be brought back; repeat the command with --yes") }
        }

        func run() async throws {
            try await output.run(.post("/v1/pools/\(name)/purge"), as: PurgeResult.self) { "purged \($0.purged)\n" }
        }
    }
}

func poolName(_ text: String) throws -> PoolName {
    guard let name = PoolName(text) else {
        throw ValidationError("'\(text)' is not a pool's name; allowed: 1...75 of A-Z a-z 0-9 - _, then .fifo")
    }
    return name
}

/// What a subcommand of `pool` asks the server.
struct PoolRequest {
    var method: String
    var path: String
    var body: Data?

    static func get(_ path: String) -> PoolRequest { PoolRequest(method: "GET", path: path) }
    static func delete(_ path: String) -> PoolRequest { PoolRequest(method: "DELETE", path: path) }
    static func post(_ path: String, body: Data? = nil) -> PoolRequest {
        PoolRequest(method: "POST", path: path, body: body)
    }
}

/// How the subcommands of `pool` reach the server and show its answer.
struct PoolOutput: ParsableArguments {
    @Flag(help: "Print the server's JSON.") var json = false
    @OptionGroup var client: ClientOptions

    func run<Answer: Decodable>(
        _ request: PoolRequest, as type: Answer.Type, text: (Answer) -> String
    ) async throws {
        try await reportingFailures {
            let answer = try await perform(request, at: client.settings())
            guard let value = try? JSONDecoder().decode(type, from: Data(answer.body)) else {
                throw CommandFailure("the server's answer of \(answer.body.count) bytes is not understood")
            }
            print(json ? String(decoding: answer.body, as: UTF8.self) + "\n" : text(value), terminator: "")
        }
    }
}

/// Asks the server and waits for its answer.
/// - Throws: `CommandFailure` unless the server did what it was asked for.
func perform(_ request: PoolRequest, at settings: ClientSettings) async throws -> ClientAnswer {
    let answer: ClientAnswer
    do {
        answer = try await makeHTTPClient(settings).perform(
            ClientRequest(
                method: request.method, url: settings.endpoint + request.path,
                contentType: request.body == nil ? nil : "application/json", body: Array(request.body ?? Data()),
                timeoutMilliseconds: 30_000))
    } catch let failure as NoAnswer {
        throw failure.failure
    }
    if let failure = answer.accessFailure { throw failure }
    guard (200...299).contains(answer.status) else {
        let status = answer.status == 429 || answer.status >= 500 ? ExitStatus.unavailable : ExitStatus.failure
        throw CommandFailure(Problem(of: answer).summary, status: status)
    }
    return answer
}
