// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension Setting {
    /// The table of all settings in Markdown: one row for each, in the order of `all`.
    package static func markdownTable() -> String {
        let head = "| key in YAML | flag | environment | default | allowed | meaning |\n|---|---|---|---|---|---|\n"
        return head + all.map(\.markdownRow).joined()
    }

    private var markdownRow: String {
        let readers = SettingReaderCommand.allCases.filter(commands.contains).map(\.rawValue)
        let cells = [
            "`\(key)`", "`\(readers.joined(separator: "`, `")) --\(flag)`", "`\(environment)`",
            fallback.map { "`\($0)`" } ?? "", allowed, text,
        ]
        return "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
    }
}
