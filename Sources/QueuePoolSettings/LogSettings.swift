// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How log lines are written.
package struct LogSettings: Hashable, Sendable {
    package enum Format: String, Hashable, Sendable {
        case text
        case json
    }

    /// A level of swift-log by its name.
    package var level: String
    package var format: Format

    package init(level: String, format: Format) {
        self.level = level
        self.format = format
    }
}

extension SettingsReader {
    mutating func logSettings() -> LogSettings? {
        let level = choice(.logLevel)
        let format = choice(.logFormat).flatMap(LogSettings.Format.init)
        guard let level, let format else { return nil }
        return LogSettings(level: level, format: format)
    }
}
