// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCommand
import Dispatch
import Glibc
import QueuePoolCore
import Synchronization

// A command a message: the body on standard input, exit status 0 for delivered, 64 and 65 (sysexits: usage, data) for
// never, anything else for again. The body is handed over as a sealed file in memory, so that a command that does not
// read it blocks nobody, and it is on no disk and in no list of processes. Of what the process has, credentials, sockets
// and files, the command gets nothing but its three streams and the variables of a list. The command runs in a process group of its own and is killed as a group when its time is over.

struct CommandTarget: DeliveryTarget {
    static let secondsMax = 60
    let command: String

    var kind: String { "exec" }

    private static let waiters = DispatchQueue(label: "queuepool.commands", attributes: .concurrent)
    /// Serial, so that it has a thread of its own also while commands hold every thread of the global queues.
    private static let limits = DispatchQueue(label: "queuepool.commands.limits")

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        let running = RunningCommand()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                CommandTarget.waiters.async { continuation.resume(returning: run(message, attempt, running)) }
            }
        } onCancel: {
            running.end()
        }
    }

    private func run(_ message: WorkMessage, _ attempt: Int, _ running: RunningCommand) -> DeliveryOutcome {
        guard let input = CommandTarget.file(message.body) else { return .failed(errorClass: "no-input-file") }
        defer { close(input) }
        let variables = [
            "QUEUEPOOL_MESSAGE_ID=\(message.id)", "QUEUEPOOL_GROUP=\(message.group)", "QUEUEPOOL_ATTEMPT=\(attempt)",
            "QUEUEPOOL_SHARD=\(message.shardName)",
        ]
        guard let process = spawn(input: input, variables) else { return .failed(errorClass: "not-started") }
        running.began(process)
        let guardian = DispatchWorkItem { running.end() }
        CommandTarget.limits.asyncAfter(deadline: .now() + .seconds(CommandTarget.secondsMax), execute: guardian)
        // The end is awaited without taking the status, so that the process id stays ours until nobody may kill it.
        var information = siginfo_t()
        while waitid(P_PID, id_t(process), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
        let wasEnded = running.finish()
        guardian.cancel()
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        return wasEnded ? .failed(errorClass: "timeout") : CommandTarget.outcome(status)
    }

    private static func outcome(_ status: Int32) -> DeliveryOutcome {
        guard status & 0x7F == 0 else { return .failed(errorClass: "signal-\(status & 0x7F)") }
        let code = status >> 8 & 0xFF
        switch code {
        case 0: return .delivered
        case 64, 65: return .refused(errorClass: "exit-\(code)")
        default: return .failed(errorClass: "exit-\(code)")
        }
    }

    private static func file(_ bytes: [UInt8]) -> Int32? {
        let file = bytes.withUnsafeBytes { qp_sealed_file($0.baseAddress, $0.count) }
        return file < 0 ? nil : file
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

    private func spawn(input: Int32, _ variables: [String]) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        guard qp_close_from(&actions, STDERR_FILENO + 1) == 0 else { return nil }
        posix_spawnattr_setpgroup(&attributes, 0)
        // The threads of Dispatch block signals, which a child would inherit: it could not be told to stop.
        var nothing = sigset_t()
        sigemptyset(&nothing)
        posix_spawnattr_setsigmask(&attributes, &nothing)
        var defaults = sigset_t()
        sigemptyset(&defaults)
        for signal in [SIGPIPE, SIGXFSZ, SIGTERM, SIGINT] { sigaddset(&defaults, signal) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        let arguments = CommandTarget.copies(["/bin/sh", "-c", command])
        let environment = CommandTarget.copies(CommandTarget.inherited() + variables)
        defer { for text in arguments + environment { free(text) } }
        var process = pid_t()
        return posix_spawn(&process, "/bin/sh", &actions, &attributes, arguments, environment) == 0 ? process : nil
    }

    /// C strings and the null that ends the list; to be freed by the caller.
    private static func copies(_ texts: [String]) -> [UnsafeMutablePointer<CChar>?] {
        texts.map { text in strdup(text) } + [nil]
    }
}

/// A command's process group, which may be killed as long as its status was not taken.
private final class RunningCommand: Sendable {
    private let state = Mutex((process: pid_t(0), isOver: false, isEnded: false))

    func began(_ process: pid_t) {
        state.withLock { state in
            state.process = process
            if state.isEnded { kill(-process, SIGKILL) }
        }
    }

    /// Kills it, now or as soon as it has begun.
    func end() {
        state.withLock { state in
            guard !state.isOver else { return }
            state.isEnded = true
            if state.process > 0 { kill(-state.process, SIGKILL) }
        }
    }

    /// Forbids killing from now on.
    /// - Returns: whether it was killed.
    func finish() -> Bool {
        state.withLock { state in
            state.isOver = true
            return state.isEnded
        }
    }
}
