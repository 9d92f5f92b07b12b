// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc

/// The program.
@main
struct Queuepool: AsyncParsableCommand {
    static let version = "0.1.0"

    static let configuration = CommandConfiguration(
        commandName: "queuepool",
        abstract: "One logical FIFO queue made of many: durable, ordered within a group, without duplicates.",
        discussion: """
            Start a server, send a message and deliver it:
              queuepool serve --pool emails.fifo=8
              echo '{"group":"customer-1","body":"hello"}' | queuepool send --pool emails.fifo
              queuepool work --pool emails.fifo --deliver stdout:
            """,
        version: version,
        subcommands: [
            ServeCommand.self, WorkCommand.self, SendCommand.self, PoolCommand.self, KeyCommand.self,
            DeadLettersCommand.self, BenchCommand.self,
        ])

    /// A reader that goes away must show as an error of the write, which can be handled, and not end the process.
    /// The same for a file that reached its largest size.
    static func main() async {
        signal(SIGPIPE, SIG_IGN)
        signal(SIGXFSZ, SIG_IGN)
        await main(nil)
    }
}
