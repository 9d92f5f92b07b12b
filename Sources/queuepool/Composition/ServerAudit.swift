// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolSettings

/// The audit log of a server; `nil` if it keeps none.
/// - Throws: `CommandFailure` that names the setting: a server that may not write down what is done does nothing.
func openAuditLog(_ settings: ServeSettings, clock: any Clock, logger: Logger) throws -> AuditLog? {
    guard let path = settings.auditLog else { return nil }
    return try openAuditLog(path, clock: clock) { log($0, to: logger) }
}

/// Opens the file of an audit log.
/// - Throws: `CommandFailure` that names the setting.
func openAuditLog(
    _ path: String, clock: any Clock, report: @escaping @Sendable (AuditEvent) -> Void = { _ in }
) throws -> AuditLog {
    do throws(AuditError) { return try AuditLog(path: path, clock: clock, report: report) } catch {
        throw CommandFailure(.auditLog, file: path, "cannot be written: \(describe(error))")
    }
}

/// Why an entry is not kept, for an operator.
func describe(_ error: AuditError) -> String {
    switch error {
    case .failed(let code): systemMessage(code)
    case .full: "too many wait for a write that does not end"
    case .closed: "it is closed"
    }
}

private func log(_ event: AuditEvent, to logger: Logger) {
    switch event {
    case .writeFailed(let error):
        logger.error(
            "The audit log cannot be written: admin actions are refused", metadata: ["error": "\(describe(error))"])
    case .writesAgain: logger.notice("The audit log is written again")
    case .reopenFailed(let error):
        logger.error(
            "The audit log cannot be opened again: it goes on in the file before",
            metadata: ["error": "\(describe(error))"])
    case .reopened: logger.notice("The audit log was opened again")
    }
}
