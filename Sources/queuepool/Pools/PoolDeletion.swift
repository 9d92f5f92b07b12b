// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolServer
import QueuePoolSettings

// `pool delete`. Two ways: a server that is asked removes the pool and, if its shards are files, every message in it;
// with --control only the record goes, and the queues of SQS stay with what is in them. Files are a server's, which
// holds them open: their pools are not deleted behind its back.

extension PoolCommand {
    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a pool.",
            discussion: """
                Example:
                  queuepool pool delete receipts.fifo --yes
                  queuepool pool delete emails.fifo --control dynamodb:queuepool --yes
                The server at --endpoint removes the pool and the files of its shards, with every message in them. \
                Queues of SQS stay as they are. With --control no server is asked: a pool whose shards are queues of \
                SQS is removed from the control store, and servers that share it stop serving it within seconds. \
                A dead-letter queue is deleted after the pools that name it.
                """)
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @Flag(help: "Needed, because messages in files cannot be brought back.") var yes = false
        @OptionGroup(title: "Control store (instead of a server)") var control: ControlOptions
        @OptionGroup var client: ClientOptions

        func validate() throws {
            if !yes { throw ValidationError("messages in files cannot be brought back; repeat the command with --yes") }
            if control.control != nil, client.endpoint != nil {
                throw ValidationError("--control and --endpoint: allowed is one of them")
            }
        }

        func run() async throws {
            if control.control == nil {
                try await reportingFailures {
                    _ = try await perform(.delete("/v1/pools/\(name)"), at: client.settings())
                }
            } else {
                try await removeRecord()
            }
            print("deleted \(name)")
        }

        private func removeRecord() async throws {
            try await reportingFailures { [name] in
                let store = try openControlStore(
                    try await control.settings(config: client.config), clock: SystemClock())
                try await onOwnThread {
                    do {
                        let contents = try store.contents()
                        if contents.unreadable.contains(name.text) {
                            throw ControlStoreError.damaged(pool: name.text)
                        }
                        let stored = contents.pools
                        guard let pool = stored.first(where: { $0.name == name }) else {
                            throw CommandFailure("there is no pool \(name) in the control store")
                        }
                        if let reason = refusal(to: pool, among: stored) { throw CommandFailure(reason) }
                        try store.remove(pool)
                    } catch let error as ControlStoreError {
                        throw CommandFailure(
                            "the control store: \(describe(error))", status: ExitStatus.unavailable)
                    }
                }
            }
        }
    }
}

/// Why a pool's record may not go; `nil` if it may.
private func refusal(to pool: PoolDefinition, among stored: [PoolDefinition]) -> String? {
    guard pool.backend == .sqs else {
        return "the shards of \(pool.name) are files of a server: delete it through that server, with --endpoint"
    }
    let sources = stored.filter {
        !$0.isDeleting && $0.name != pool.name
            && queueAttributes(of: $0.attributes).redrive?.deadLetterQueue == pool.name.text
    }
    if sources.isEmpty { return nil }
    return "\(pool.name) is the dead-letter queue of \(sources.map(\.name.text).joined(separator: ", ")): "
        + "change or delete these first"
}
