// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore

// A command a message: the body on standard input, exit status 0 for delivered, 64 and 65 (sysexits: usage, data) for
// never, anything else for again. The body is handed over as a sealed file in memory, so that a command that does not
// read it blocks nobody, and it is on no disk and in no list of processes. Of what the process has, credentials, sockets
// and files, the command gets nothing but its three streams and the variables of a list. The command runs in a process
// group of its own, which is killed as a group when its time is over, when it fails, and when this process is gone.

struct CommandTarget: DeliveryTarget {
    let command: String
    /// After so long a command is killed.
    var limit = Duration.seconds(60)
    let clock: any Clock

    var kind: String { "exec" }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        let variables = [
            "QUEUEPOOL_MESSAGE_ID=\(message.id)", "QUEUEPOOL_GROUP=\(message.group)", "QUEUEPOOL_ATTEMPT=\(attempt)",
            "QUEUEPOOL_SHARD=\(message.shardName)",
        ]
        let order = CommandOrder(
            command: command, environment: CommandTarget.inherited() + variables, input: message.body, limit: limit,
            clock: clock)
        return CommandTarget.outcome(await CommandThread.shared.run(order))
    }

    private static func outcome(_ end: CommandEnd) -> DeliveryOutcome {
        switch end {
        case .ended(let status): outcome(status)
        case .killed: .failed(errorClass: "timeout")
        case .statusUnknown: .failed(errorClass: "no-status")
        // This machine lacks something: that says nothing about the message.
        case .notStarted(let code): .unavailable(errorClass: "not-started-\(code)")
        }
    }

    private static func outcome(_ status: Int32) -> DeliveryOutcome {
        guard status & 0x7F == 0 else { return .failed(errorClass: "signal-\(status & 0x7F)") }
        let code = status >> 8 & 0xFF
        switch code {
        case 0: return .delivered
        case 64, 65: return .refused(errorClass: "exit-\(code)")
        // What the shell says when there is no such command, or none that can be run.
        case 126, 127: return .unavailable(errorClass: "exit-\(code)")
        default: return .failed(errorClass: "exit-\(code)")
        }
    }

    /// Variables of this process that a command gets, with those of `LC_`: what programs need to run anywhere. Settings
    /// and credentials are not among them.
    private static let inheritedNames: Set<Substring> = [
        "PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL",
    ]

    private static func inherited() -> [String] {
        var texts: [String] = []
        var place = environ
        while let variable = place.pointee {
            let text = String(cString: variable)
            let name = text.prefix { $0 != "=" }
            if inheritedNames.contains(name) || name.hasPrefix("LC_") { texts.append(text) }
            place += 1
        }
        return texts
    }
}
