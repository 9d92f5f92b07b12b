// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSettings

/// Writes each event as one line to standard error, with one call, so that lines of several threads do not mix.
struct LineLogHandler: LogHandler {
    /// Read through a module that knows nothing of Foundation: beside Foundation, C's structures of time seem to come
    /// from one module or another, by the order in which the files of this one are compiled.
    private static let clock = SystemClock()
    let label: String
    let format: LogSettings.Format
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadataProvider.map { $0.get() } ?? [:]
        all.merge(metadata) { $1 }
        if let own = event.metadata { all.merge(own) { $1 } }
        let line = LogLine(
            time: Self.clock.wallTime().milliseconds, level: event.level.rawValue,
            label: label, message: event.message.description,
            fields: all.map { (key: $0.key, value: $0.value.description) })
        let bytes = format == .json ? line.json() : line.text()
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }
}

/// Sends everything that is logged through the settings' format and level. Called once, at the start of a command.
func startLogging(_ settings: LogSettings) {
    let level = Logger.Level(rawValue: settings.level) ?? .info
    LoggingSystem.bootstrap { label in
        LineLogHandler(label: label, format: settings.format, logLevel: level)
    }
}
