// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import QueuePoolCore
import Synchronization

// A command a message: the body on standard input, exit status 0 for delivered, 64 and 65 (sysexits: usage, data) for
// never, anything else for again. The body is handed over as an unlinked file, so that a command that does not read it
// blocks nobody. The command runs in a process group of its own and is killed as a group when its time is over.

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
        guard let input = CommandTarget.unlinkedFile(message.body) else { return .failed(errorClass: "no-input-file") }
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

    private static func unlinkedFile(_ bytes: [UInt8]) -> Int32? {
        var path = Array("/tmp/queuepool-XXXXXX".utf8CString)
        let file = mkstemp(&path)
        guard file >= 0 else { return nil }
        unlink(path)
        _ = fcntl(file, F_SETFD, FD_CLOEXEC)
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
            guard count > 0 else {
                close(file)
                return nil
            }
            rest = rest.dropFirst(count)
        }
        lseek(file, 0, SEEK_SET)
        return file
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
        var inherited: [String] = []
        var place = environ
        while let variable = place.pointee {
            inherited.append(String(cString: variable))
            place += 1
        }
        let arguments = CommandTarget.copies(["/bin/sh", "-c", command])
        let environment = CommandTarget.copies(inherited + variables)
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
