// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging
import Synchronization

/// The last line of a terminal on standard error, which is drawn over and over. Log lines go above it, whole.
final class TerminalLine: Sendable {
    private static let clear = "\r\u{1B}[K"

    /// What the line shows. Whoever writes to the terminal holds the lock meanwhile.
    private let shown = Mutex("")
    private let write: @Sendable (String) -> Void

    init(write: @escaping @Sendable (String) -> Void = writeToStandardError) { self.write = write }

    func draw(_ text: String) {
        shown.withLock { shown in
            shown = text
            write(TerminalLine.clear + text)
        }
    }

    func erase() {
        shown.withLock { shown in
            if !shown.isEmpty { write(TerminalLine.clear) }
            shown = ""
        }
    }

    /// - Parameter body: writes whole lines.
    func above(_ body: () -> Void) {
        shown.withLock { shown in
            if !shown.isEmpty { write(TerminalLine.clear) }
            body()
            if !shown.isEmpty { write(shown) }
        }
    }

    /// Columns of the terminal; 80 if it does not tell.
    static var columns: Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}

/// Writes log lines above a line of the terminal.
struct LogsAboveLine: LogHandler {
    var base: any LogHandler
    let line: TerminalLine

    var logLevel: Logger.Level {
        get { base.logLevel }
        set { base.logLevel = newValue }
    }
    var metadata: Logger.Metadata {
        get { base.metadata }
        set { base.metadata = newValue }
    }
    var metadataProvider: Logger.MetadataProvider? {
        get { base.metadataProvider }
        set { base.metadataProvider = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { base[metadataKey: key] }
        set { base[metadataKey: key] = newValue }
    }

    func log(event: LogEvent) { line.above { base.log(event: event) } }
}
