// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolCore
import QueuePoolSettings

/// `queuepool pool`
struct PoolCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pool",
        abstract: "List, show, create and purge pools.",
        discussion: """
            Example:
              queuepool pool create emails.fifo --shards 8
              queuepool pool show emails.fifo
            """,
        subcommands: [List.self, Show.self, Create.self, Purge.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all pools.", discussion: "Example:\n  queuepool pool list --json")
        @OptionGroup var output: PoolOutput

        func run() async throws {
            try await output.run(.get("/v1/pools"), as: PoolList.self) { TextTable($0).text }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a pool and its shards.", discussion: "Example:\n  queuepool pool show emails.fifo")
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @OptionGroup var output: PoolOutput

        func run() async throws {
            try await output.run(.get("/v1/pools/\(name)"), as: PoolDetail.self) { TextTable($0).text }
        }
    }

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a pool; one that exists alike is left as it is.",
            discussion: "Example:\n  queuepool pool create emails.fifo --shards 8 --quota 300")
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @Option(help: "Shards, 1...256.") var shards: Int
        @Option(help: "Requests per second and API action of each shard; none unless set.") var quota: Int?
        @OptionGroup var output: PoolOutput

        func validate() throws {
            guard (1...Topology.shardsMax).contains(shards) else {
                throw ValidationError("--shards: \(shards); allowed: 1...\(Topology.shardsMax)")
            }
            if let quota, !(1...1_000_000).contains(quota) {
                throw ValidationError("--quota: \(quota); allowed: 1...1000000")
            }
        }

        func run() async throws {
            let body = try JSONEncoder().encode(PoolCreation(name: name.text, shards: shards, quota: quota))
            try await output.run(.post("/v1/pools", body: body), as: PoolDetail.self) { TextTable($0).text }
        }
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

private func poolName(_ text: String) throws -> PoolName {
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
            let answer = try await perform(request, endpoint: client.settings().endpoint)
            guard let value = try? JSONDecoder().decode(type, from: Data(answer.body)) else {
                throw CommandFailure("the server's answer of \(answer.body.count) bytes is not understood")
            }
            print(json ? String(decoding: answer.body, as: UTF8.self) + "\n" : text(value), terminator: "")
        }
    }

    private func perform(_ request: PoolRequest, endpoint: String) async throws -> ClientAnswer {
        let answer: ClientAnswer
        do {
            answer = try await makeHTTPClient().perform(
                ClientRequest(
                    method: request.method, url: endpoint + request.path,
                    contentType: request.body == nil ? nil : "application/json", body: Array(request.body ?? Data()),
                    timeoutMilliseconds: 30_000))
        } catch let failure as NoAnswer {
            throw CommandFailure("the server does not answer: \(failure)", status: ExitStatus.unavailable)
        }
        guard (200...299).contains(answer.status) else {
            let status = answer.status == 429 || answer.status >= 500 ? ExitStatus.unavailable : ExitStatus.failure
            throw CommandFailure(Problem(of: answer).summary, status: status)
        }
        return answer
    }
}
