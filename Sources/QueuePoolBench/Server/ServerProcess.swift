// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A server of the run's own: the same program started as `serve` on a free loopback port with an empty data directory,
// which is removed afterwards. An exit code other than 0 is a finding.

/// A server over embedded shards.
final class ServerProcess {
    let endpoint: Endpoint
    var pid: Int { child.pid }
    private let child: ChildProcess
    private let directory: TemporaryDirectory

    /// Starts the server and waits until `/readyz` answers 200.
    /// - Throws: `BenchFailure` when it ends or is not ready in 30 s, `BenchInterrupted`.
    init(_ options: BenchOptions) throws {
        directory = try TemporaryDirectory(in: options.dataDirectoryParent)
        do {
            endpoint = Endpoint(host: "127.0.0.1", port: try Sockets.freePort())
            var arguments = [
                "queuepool", "serve", "--listen", endpoint.authority, "--data-dir", directory.path + "/data", "--pool",
                "\(options.pool)=\(options.shards)",
            ]
            if let quota = options.quota { arguments += ["--quota", String(quota)] }
            arguments += options.serverArguments
            child = try ChildProcess(options.executable, arguments, log: directory.path + "/server.log")
        } catch {
            directory.remove()
            throw error
        }
        do {
            try child.awaitReady(endpoint)
        } catch {
            _ = stop()
            throw error
        }
    }

    deinit { _ = stop() }

    /// SIGTERM, then SIGKILL after 30 s; removes the directory.
    /// - Returns: the exit code, `nil` if a signal ended it.
    func stop() -> Int32? {
        let code = child.stop()
        directory.remove()
        return code
    }
}
