// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// A program started beside the run: a process apart, so that its CPU and memory can be read and the client's are not
// mixed in. It is ended by SIGTERM, as an operator would, and killed when that does not help.

/// A measurement that could not be made.
package struct BenchFailure: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A child process whose output goes to a file.
final class ChildProcess {
    let pid: Int
    private let log: String
    private var isRunning = true
    /// As wait(2) tells it, once it has ended.
    private var status: Int32 = 0
    private static let readySecondsMax: UInt64 = 30
    private static let stopSecondsMax: UInt64 = 30

    /// Starts a program.
    /// - Parameters:
    ///   - environment: `NAME=VALUE`; `nil` = as this process's.
    ///   - log: file that its output is added to.
    init(_ executable: String, _ arguments: [String], environment: [String]? = nil, log: String) throws {
        self.log = log
        pid = try ChildProcess.spawn(executable, arguments, environment, log: log)
    }

    deinit { if isRunning { _ = stop() } }

    /// User and system time, and memory; `nil` when it is gone.
    var usage: ProcessUsage? { ProcessUsage(pid: pid) }

    /// Waits until `/readyz` answers 200.
    /// - Throws: `BenchFailure` when the child ends or is not ready in 30 s, `BenchInterrupted`.
    func awaitReady(_ endpoint: Endpoint) throws {
        let client = ControlClient(endpoint: endpoint)
        let deadline = monotonicNanoseconds() + ChildProcess.readySecondsMax * 1_000_000_000
        while monotonicNanoseconds() < deadline {
            try Interruption.check()
            if let answer = try? client.get("/readyz"), answer.status == 200 { return }
            guard !hasEnded() else {
                throw BenchFailure(
                    "the server ended with status \((status >> 8) & 0xFF) before it was ready; its last words: "
                        + lastWords)
            }
            usleep(5_000)
        }
        throw BenchFailure("the server was not ready after \(ChildProcess.readySecondsMax) s")
    }

    /// Waits until the child has ended by itself with exit code 0.
    /// - Parameter name: what it is called in a failure.
    /// - Throws: `BenchFailure` when it takes too long or fails, `BenchInterrupted`.
    func awaitSuccess(_ name: String, seconds: Int = 60) throws {
        let deadline = monotonicNanoseconds() + UInt64(seconds) * 1_000_000_000
        while !hasEnded() {
            try Interruption.check()
            guard monotonicNanoseconds() < deadline else { throw BenchFailure("\(name) took more than \(seconds) s") }
            usleep(5_000)
        }
        guard exitCode == 0 else {
            throw BenchFailure("\(name) ended with status \((status >> 8) & 0xFF); its last words: " + lastWords)
        }
    }

    /// SIGTERM, without waiting for what comes of it.
    func terminate() { if isRunning { kill(pid_t(pid), SIGTERM) } }

    /// SIGTERM, then SIGKILL after 30 s.
    /// - Returns: the exit code, `nil` if a signal ended it or it was not running any more.
    func stop() -> Int32? {
        guard isRunning else { return nil }
        terminate()
        let deadline = monotonicNanoseconds() + ChildProcess.stopSecondsMax * 1_000_000_000
        while !hasEnded() {
            if monotonicNanoseconds() > deadline { kill(pid_t(pid), SIGKILL) }
            usleep(5_000)
        }
        return exitCode
    }

    /// The end of what it wrote.
    private var lastWords: String { String((SmallFile.read(log) ?? "").suffix(1_000)) }

    private var exitCode: Int32? { status & 0x7F == 0 ? (status >> 8) & 0xFF : nil }

    /// Whether it has ended; its status is then taken.
    private func hasEnded() -> Bool {
        if isRunning, waitpid(pid_t(pid), &status, WNOHANG) != 0 { isRunning = false }
        return !isRunning
    }

    private static func spawn(
        _ executable: String, _ arguments: [String], _ environment: [String]?, log: String
    ) throws -> Int {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // A process group of its own: a terminal sends Ctrl-C to the whole foreground group, and a server that leaves
        // before the load has stopped would make failures of the run's last requests.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        posix_spawnattr_setpgroup(&attributes, 0)
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        var variables: [UnsafeMutablePointer<CChar>?] = (environment ?? []).map { strdup($0) }
        variables.append(nil)
        defer { for pointer in words + variables { free(pointer) } }
        var pid = pid_t()
        let program = resolved(executable)
        let result =
            environment == nil
            ? posix_spawn(&pid, program, &actions, &attributes, words, environ)
            : posix_spawn(&pid, program, &actions, &attributes, words, variables)
        guard result == 0 else { throw SocketError(call: "start \(executable)", code: result) }
        return Int(pid)
    }

    /// `/proc/self/exe` names another program in the child, so the link is read here.
    private static func resolved(_ executable: String) -> String {
        var bytes = [UInt8](repeating: 0, count: 4_096)
        let count = bytes.withUnsafeMutableBytes { raw in
            raw.withMemoryRebound(to: CChar.self) { path in
                path.baseAddress.map { readlink(executable, $0, path.count) } ?? -1
            }
        }
        guard executable == "/proc/self/exe", count > 0 else { return executable }
        return String(decoding: bytes[0..<count], as: UTF8.self)
    }
}
