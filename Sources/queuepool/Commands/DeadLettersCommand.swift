// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolCore
import QueuePoolSettings

/// `queuepool dead-letters`
struct DeadLettersCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dead-letters",
        abstract: "List, show, redrive and delete what was given up.",
        discussion: """
            Example:
              queuepool dead-letters list emails.fifo
              queuepool dead-letters show emails.fifo --id 5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11 --body
              queuepool dead-letters redrive emails.fifo --all --rate 50
            Looking receives nothing: no count changes and no message is hidden. Redriven messages enter at the end of \
            their group, in their order.
            """,
        subcommands: [List.self, Show.self, Redrive.self, Status.self, Cancel.self, Delete.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List dead letters, the oldest of each shard first.",
            discussion: "Example:\n  queuepool dead-letters list emails.fifo --limit 100 --json")
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @Option(help: "Dead letters of one answer, 1...500.") var limit = 50
        @Option(help: "Those behind this one: the 'next' of an answer before.", transform: letterID) var after: String?
        @OptionGroup var output: PoolOutput

        func validate() throws {
            guard (1...500).contains(limit) else { throw ValidationError("--limit: \(limit); allowed: 1...500") }
        }

        func run() async throws {
            let path = "/v1/pools/\(pool)/dead-letters?limit=\(limit)" + (after.map { "&after=\($0)" } ?? "")
            try await output.run(.get(path), as: DeadLetterList.self) { list in
                TextTable(list).text + list.remarks
            }
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a dead letter; its body only if it is asked for.",
            discussion: """
                Example:
                  queuepool dead-letters show emails.fifo --id 5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11 --body
                """)
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @Option(help: "Its id, as list shows it.", transform: letterID) var id: String
        @Flag(help: "Print its body and the values of its attributes too.") var body = false
        @OptionGroup var output: PoolOutput

        func run() async throws {
            let path = "/v1/pools/\(pool)/dead-letters/\(id)" + (body ? "?body=true" : "")
            try await output.run(.get(path), as: DeadLetter.self) { $0.text }
        }
    }

    struct Redrive: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send dead letters back to the pools that they came from.",
            discussion: """
                Example:
                  queuepool dead-letters redrive emails.fifo --all --rate 50
                  queuepool dead-letters redrive emails.fifo --id 5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11
                The server goes on with it; status tells how far it is. Those that are not named stay where they are.
                """)
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @Option(name: .customLong("id"), help: "A dead letter's id; repeated.", transform: letterID) var ids: [String] =
            []
        @Flag(help: "All of the dead-letter queue.") var all = false
        @Option(help: "Messages a second, 1...500; as fast as it goes unless set.") var rate: Int?
        @OptionGroup var output: PoolOutput

        func validate() throws {
            guard all == ids.isEmpty else { throw ValidationError("needed is either --all or --id, not both") }
            if let rate, !(1...500).contains(rate) { throw ValidationError("--rate: \(rate); allowed: 1...500") }
        }

        func run() async throws {
            let body = try JSONEncoder().encode(RedriveOrder(ids: all ? nil : ids, ratePerSecond: rate))
            let path = "/v1/pools/\(pool)/dead-letters/redrive"
            try await output.run(.post(path, body: body), as: RedriveTask.self) { $0.text }
        }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Tell how far the latest redrive is.",
            discussion: "Example:\n  queuepool dead-letters status emails.fifo")
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @OptionGroup var output: PoolOutput

        func run() async throws {
            try await output.run(.get("/v1/pools/\(pool)/dead-letters/redrive"), as: RedriveTask.self) { $0.text }
        }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End the redrive that runs; what was moved stays moved.",
            discussion: "Example:\n  queuepool dead-letters cancel emails.fifo")
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @OptionGroup var output: PoolOutput

        func run() async throws {
            try await output.run(.delete("/v1/pools/\(pool)/dead-letters/redrive"), as: RedriveTask.self) { $0.text }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete dead letters; they cannot be brought back.",
            discussion: """
                Example:
                  queuepool dead-letters delete emails.fifo --id 5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11
                All of them: queuepool pool purge emails-dlq.fifo --yes
                """)
        @Argument(help: "The pool, or its dead-letter queue.", transform: poolName) var pool: PoolName
        @Option(name: .customLong("id"), help: "A dead letter's id; repeated.", transform: letterID) var ids: [String]
        @OptionGroup var client: ClientOptions

        func validate() throws {
            if ids.isEmpty { throw ValidationError("--id: needed once at least") }
        }

        func run() async throws {
            try await reportingFailures {
                let settings = try await client.settings()
                for id in ids {
                    _ = try await perform(.delete("/v1/pools/\(pool)/dead-letters/\(id)"), at: settings)
                    print("deleted \(id)")
                }
            }
        }
    }
}

/// An id that goes into a path.
private func letterID(_ text: String) throws -> String {
    guard MessageID(text) != nil else { throw ValidationError("it is not a message's id, a UUID") }
    return text
}
