// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolSettings
import QueuePoolWorker
import ServiceLifecycle

/// Shows on a terminal what a worker does, in one line that is drawn anew each second.
struct WorkProgress: Service {
    let metrics: WorkerMetrics
    let line: TerminalLine

    /// Whether there is a terminal, with nobody else on it that would tear the line or be drawn over: more or fewer log
    /// lines than usual are asked for by those who read them, JSON is for programs, and a target may write there too.
    static func isWanted(_ settings: WorkSettings, isErrorTerminal: Bool, isOutputTerminal: Bool) -> Bool {
        isErrorTerminal && settings.log.level == Setting.logLevel.fallback && settings.log.format == .text
            && !settings.deliver.contains { $0.hasPrefix("exec:") || $0 == "stdout:" && isOutputTerminal }
    }

    static func isWanted(_ settings: WorkSettings) -> Bool {
        isWanted(
            settings, isErrorTerminal: isatty(STDERR_FILENO) == 1, isOutputTerminal: isatty(STDOUT_FILENO) == 1)
    }

    func run() async {
        await cancelWhenGracefulShutdown {
            var before: (summary: WorkerMetrics.Summary, at: ContinuousClock.Instant)?
            while !Task.isCancelled {
                let now = (summary: metrics.summary(), at: ContinuousClock.now)
                let perSecond = before.map { before in
                    Double(now.summary.delivered - before.summary.delivered)
                        / max(0.001, before.at.duration(to: now.at) / .seconds(1))
                }
                line.draw(
                    WorkProgress.text(now.summary, perSecond: Int(perSecond ?? 0), columns: TerminalLine.columns))
                before = now
                try? await Task.sleep(for: .seconds(1))
            }
        }
        line.erase()
    }

    /// At most as long as the terminal is wide: a line that wraps cannot be drawn over.
    static func text(_ summary: WorkerMetrics.Summary, perSecond: Int, columns: Int) -> String {
        var text =
            "\(summary.delivered) delivered  \(perSecond)/s  \(summary.retrying) retrying  \(summary.held) held  "
            + "\(summary.underWay) under way  \(summary.deadLetters) dead letters"
        if !summary.down.isEmpty { text += "  down: " + summary.down.joined(separator: ", ") }
        // Room for the mark of what is left out, and for the cursor.
        return SettingError.printable(text, scalarsMax: max(1, columns - 4))
    }
}
