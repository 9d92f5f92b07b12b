// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension Setting {
    package static let auditLog = Setting(
        "audit.log", flag: "audit-log", .text, allowed: "path of a file that this process may append to",
        text:
            "File that each admin action, each dead letter's body that is read and each refusal is written to, a line of "
            + "JSON each; SIGHUP opens it again. Unless set, audit.log in the data directory where keys are required, and "
            + "none where they are not.")

    /// The name of the file in a data directory.
    package static let auditLogName = "audit.log"
}

extension SettingsReader {
    /// - Returns: path of the audit log; `nil` for none.
    mutating func auditLog(in directory: String, requiresKeys: Bool) -> String? {
        text(.auditLog)?.value ?? (requiresKeys ? directory + "/" + Setting.auditLogName : nil)
    }
}
