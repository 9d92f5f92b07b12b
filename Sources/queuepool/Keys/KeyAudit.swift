// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolSettings

/// Writes down what a command does to keys, in the audit log of the server whose data directory they are in.
struct KeyAudit: Sendable {
    /// Path of the file.
    let file: String
    /// Such as `createKey`.
    let operation: String
    let clock: any Clock

    /// Before anything is done.
    /// - Throws: `CommandFailure`; then nothing must be done.
    func begin() throws {
        do throws(AuditError) { try append(.begun, key: nil) } catch {
            throw CommandFailure(
                "setting '\(Setting.auditLog.key)': \(failure(error)): nothing was done", status: ExitStatus.inputOutput
            )
        }
    }

    /// After it; what was done stays done, whatever becomes of this entry.
    /// - Parameter key: the id of the key that it was done to.
    func end(_ outcome: AuditOutcome, key: String?) {
        do throws(AuditError) { try append(outcome, key: key) } catch {
            writeToStandardError("queuepool: \(failure(error)): it is not written there what came of this command\n")
        }
    }

    private func append(_ outcome: AuditOutcome, key: String?) throws(AuditError) {
        try AuditLog.append(
            AuditEntry(
                time: clock.wallTime(), caller: nil, via: .command, action: .admin,
                operation: AuditWord(operation) ?? .unknown, pool: nil, key: key, outcome: outcome, request: nil),
            toFile: file)
    }

    private func failure(_ error: AuditError) -> String {
        "the audit log '\(SettingError.printable(file, scalarsMax: 1_024))' cannot be written: \(describe(error))"
    }
}
