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

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await withCheckedContinuation { continuation in
            CommandTarget.waiters.async { continuation.resume(returning: run(message, attempt)) }
        }
    }

    private func run(_ message: WorkMessage, _ attempt: Int) -> DeliveryOutcome {
        guard let input = CommandTarget.unlinkedFile(message.body) else { return .failed(errorClass: "no-input-file") }
        defer { close(input) }
        let variables = [
            "QUEUEPOOL_MESSAGE_ID=\(message.id)", "QUEUEPOOL_GROUP=\(message.group)", "QUEUEPOOL_ATTEMPT=\(attempt)",
            "QUEUEPOOL_SHARD=\(message.shard)",
        ]
        guard let process = spawn(input: input, variables) else { return .failed(errorClass: "not-started") }
        let isOver = Mutex(false)
        let guardian = DispatchWorkItem { [process] in
            isOver.withLock { if !$0 { kill(-process, SIGKILL) } }
        }
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(CommandTarget.secondsMax), execute: guardian)
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0 && errno == EINTR {}
        isOver.withLock { $0 = true }
        guardian.cancel()
        return CommandTarget.outcome(status)
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
        var defaults = sigset_t()
        sigemptyset(&defaults)
        for signal in [SIGPIPE, SIGTERM, SIGINT] { sigaddset(&defaults, signal) }
        posix_spawnattr_setsigdefault(&attributes, &defaults)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
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
