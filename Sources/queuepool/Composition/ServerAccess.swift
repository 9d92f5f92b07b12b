// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolServer
import QueuePoolSettings

/// The callers that a server knows, read and followed; `nil` if it asks nobody who he is.
/// - Throws: `CommandFailure` that says why the keys cannot be read.
func serverAccess(_ settings: ServeSettings, clock: any Clock, logger: Logger) async throws -> AccessGate? {
    guard settings.requiresKeys else { return nil }
    // The store waits for answers, and what brings them may need the thread of a task meanwhile.
    return try await withCheckedThrowingContinuation { (done: CheckedContinuation<AccessGate, any Error>) in
        Thread.detachNewThread {
            done.resume(
                with: Result {
                    try openGate(
                        settings.control, takesCertificates: settings.tls?.namesCallers ?? false, clock: clock,
                        logger: logger)
                })
        }
    }
}

private func openGate(
    _ settings: ControlSettings, takesCertificates: Bool, clock: any Clock, logger: Logger
) throws -> AccessGate {
    let gate = AccessGate(
        store: try openKeyStore(settings, clock: clock), clock: clock, takesCertificates: takesCertificates
    ) { log($0, to: logger) }
    do throws(AccessKeyStoreError) { try gate.open() } catch {
        throw CommandFailure("the keys cannot be read: \(describe(error))", status: ExitStatus.unavailable)
    }
    gate.follow()
    return gate
}

private func openKeyStore(_ settings: ControlSettings, clock: any Clock) throws -> any AccessKeyStore {
    switch settings.address {
    case .sqlite(let file):
        do throws(ControlStoreError) { return SQLiteAccessKeyStore(try SQLiteControlStore(path: file)) } catch {
            throw CommandFailure(
                "the control store \(file) cannot be opened: \(describe(error))", status: ExitStatus.inputOutput)
        }
    case .dynamoDB(let table):
        return DynamoDBAccessKeyStore(table: try dynamoDBTable(table, try AWSAccess(settings, clock: clock)))
    }
}

private func log(_ event: AccessEvent, to logger: Logger) {
    switch event {
    case .storeFailed(let error):
        logger.error(
            "Keys cannot be followed: those that were known stay accepted", metadata: ["error": "\(describe(error))"])
    case .storeAnswersAgain: logger.notice("Keys are followed again")
    case .unreadable(let ids):
        logger.error("Keys cannot be read, and nobody comes in by them", metadata: ["keys": "\(ids.count)"])
    case .noKeys:
        logger.warning("Keys are required, and there are none: 'queuepool key create' makes one")
    }
}

private func describe(_ error: AccessKeyStoreError) -> String {
    switch error {
    case .conflict, .taken: "it was changed meanwhile"
    case .noTable: "the table does not exist"
    case .failed(let code): code
    }
}
