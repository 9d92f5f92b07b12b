// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// A server of the run's own: the same program started as `serve` on a free loopback port with an empty data directory.
// It is a process apart, so that its CPU and memory can be read and the client's are not mixed in. Stopped by SIGTERM,
// as an operator would, and its directory removed; an exit code other than 0 is a finding.

/// A measurement that could not be made.
package struct BenchFailure: Error, Hashable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// A child process that serves.
final class ServerProcess {
    let endpoint: Endpoint
    let pid: Int
    private let directory: String
    private var isRunning = true
    private static let readySecondsMax: UInt64 = 30
    private static let stopSecondsMax: UInt64 = 30

    /// Starts the server and waits until `/readyz` answers 200.
    /// - Throws: `BenchFailure` when it ends or is not ready in 30 s.
    init(_ options: BenchOptions) throws {
        directory = try ServerProcess.makeDirectory(options.dataDirectoryParent)
        endpoint = Endpoint(host: "127.0.0.1", port: try Sockets.freePort())
        var arguments = [
            "queuepool", "serve", "--listen", endpoint.authority, "--data-dir", directory + "/data", "--pool",
            "\(options.pool)=\(options.shards)",
        ]
        if let quota = options.quota { arguments += ["--quota", String(quota)] }
        arguments += options.serverArguments
        pid = try ServerProcess.spawn(options.executable, arguments, log: directory + "/server.log")
        do {
            try awaitReady()
        } catch {
            _ = stop()
            throw error
        }
    }

    deinit { if isRunning { _ = stop() } }

    /// SIGTERM, then SIGKILL after 30 s; removes the directory.
    /// - Returns: the exit code, `nil` if a signal ended it.
    func stop() -> Int32? {
        guard isRunning else { return nil }
        isRunning = false
        kill(pid_t(pid), SIGTERM)
        var status: Int32 = 0
        let deadline = monotonicNanoseconds() + ServerProcess.stopSecondsMax * 1_000_000_000
        while waitpid(pid_t(pid), &status, WNOHANG) == 0 {
            if monotonicNanoseconds() > deadline {
                kill(pid_t(pid), SIGKILL)
                waitpid(pid_t(pid), &status, 0)
                break
            }
            usleep(5_000)
        }
        ServerProcess.removeTree(directory)
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : nil
    }

    private func awaitReady() throws {
        let client = ControlClient(endpoint: endpoint)
        let deadline = monotonicNanoseconds() + ServerProcess.readySecondsMax * 1_000_000_000
        while monotonicNanoseconds() < deadline {
            if let answer = try? client.get("/readyz"), answer.status == 200 { return }
            var status: Int32 = 0
            if waitpid(pid_t(pid), &status, WNOHANG) != 0 {
                isRunning = false
                let log = SmallFile.read(directory + "/server.log") ?? ""
                ServerProcess.removeTree(directory)
                throw BenchFailure(
                    "the server ended with status \((status >> 8) & 0xFF) before it was ready; its last words: "
                        + log.suffix(1_000))
            }
            usleep(5_000)
        }
        throw BenchFailure("the server was not ready after \(ServerProcess.readySecondsMax) s")
    }

    private static func makeDirectory(_ parent: String?) throws -> String {
        let base = parent ?? getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((base + "/queuepool-bench.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw SocketError(call: "mkdtemp", code: errno) }
        return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func spawn(_ executable: String, _ arguments: [String], log: String) throws -> Int {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        pointers.append(nil)
        defer { for pointer in pointers { free(pointer) } }
        var pid = pid_t()
        let result = posix_spawn(&pid, resolved(executable), &actions, nil, pointers, environ)
        guard result == 0 else { throw SocketError(call: "start \(executable)", code: result) }
        return Int(pid)
    }

    /// Removes a directory made by `makeDirectory`, following no links.
    private static func removeTree(_ path: String) {
        guard let stream = opendir(path) else { return }
        while let entry = readdir(stream) {
            let isDirectory = Int32(entry.pointee.d_type) == Int32(DT_DIR)
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            if isDirectory { removeTree(path + "/" + name) } else { unlink(path + "/" + name) }
        }
        closedir(stream)
        rmdir(path)
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
