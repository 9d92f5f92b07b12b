// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// A pool of SQS queues in small: one server of our own a shard, each with its own data directory and quota, and a router
// over them whose control store is a file. Servers start side by side; they end in the order of the flow, so that the
// router's last requests find their shards.

/// Shard servers and the router over them.
final class ShardFleet {
    /// What a fleet is made of.
    struct Plan {
        var pool = "bench.fifo"
        var shards = 1
        var quota = 300
        var executable = "/proc/self/exe"
        var dataDirectoryParent: String?
    }

    private let directory: TemporaryDirectory
    private let plan: Plan
    private var servers: [ChildProcess] = []
    private var routerProcess: ChildProcess?
    /// Where shard i answers.
    private(set) var endpoints: [Endpoint] = []
    private(set) var router = Endpoint(host: "127.0.0.1", port: 0)

    /// Starts everything and waits until it is ready.
    /// - Throws: `BenchFailure`, `BenchInterrupted`; nothing is left behind then.
    init(_ plan: Plan) throws {
        self.plan = plan
        directory = try TemporaryDirectory(in: plan.dataDirectoryParent)
        do {
            try startServers()
            try createPool()
            try startRouter()
        } catch {
            _ = stop()
            throw error
        }
    }

    deinit { _ = stop() }

    /// The router's CPU and memory.
    var routerUsage: ProcessUsage? { routerProcess?.usage }
    /// The router's process.
    var routerPID: Int? { routerProcess?.pid }
    /// CPU and memory of all shard servers together.
    var shardUsage: ProcessUsage? { ProcessUsage(sumOf: servers.map(\.usage)) }

    /// Ends all processes by SIGTERM, or SIGKILL after 30 s, and removes their directories.
    /// - Returns: exit codes of the router and the servers; `nil` for one that a signal ended.
    func stop() -> [Int32?] {
        var codes: [Int32?] = []
        if let routerProcess { codes.append(routerProcess.stop()) }
        for server in servers { server.terminate() }
        codes += servers.map { $0.stop() }
        routerProcess = nil
        servers = []
        directory.remove()
        return codes
    }

    private func startServers() throws {
        for shard in 0..<plan.shards {
            let endpoint = Endpoint(host: "127.0.0.1", port: try Sockets.freePort())
            let home = directory.path + "/shard\(shard)"
            servers.append(
                try start(
                    [
                        "serve", "--listen", endpoint.authority, "--data-dir", home, "--quota", String(plan.quota),
                    ], log: "shard\(shard)"))
            endpoints.append(endpoint)
        }
        for (server, endpoint) in zip(servers, endpoints) { try server.awaitReady(endpoint) }
    }

    private func createPool() throws {
        let arguments = ShardFleet.createArguments(plan, control: control, endpoints: endpoints)
        let child = try start(arguments, log: "create")
        do {
            try child.awaitSuccess("pool create")
        } catch {
            _ = child.stop()
            throw error
        }
    }

    private func startRouter() throws {
        router = Endpoint(host: "127.0.0.1", port: try Sockets.freePort())
        let process = try start(
            [
                "serve", "--listen", router.authority, "--data-dir", directory.path + "/router", "--control", control,
                "--region", "us-east-1",
            ], log: "router")
        routerProcess = process
        try process.awaitReady(router)
    }

    private var control: String { "sqlite:\(directory.path)/control.sqlite" }

    private func start(_ arguments: [String], log: String) throws -> ChildProcess {
        try ChildProcess(
            plan.executable, ["queuepool"] + arguments, environment: ShardFleet.environment(),
            log: "\(directory.path)/\(log).log")
    }

    /// The command that makes the pool, shard i at endpoint i.
    static func createArguments(_ plan: Plan, control: String, endpoints: [Endpoint]) -> [String] {
        var arguments = [
            "pool", "create", plan.pool, "--backend", "sqs", "--shards", String(plan.shards), "--quota",
            String(plan.quota), "--control", control, "--region", "us-east-1",
        ]
        if let first = endpoints.first { arguments += ["--endpoint-url", first.url] }
        for (shard, endpoint) in endpoints.enumerated() {
            arguments += ["--shard-endpoint", "\(shard)=\(endpoint.url)"]
        }
        return arguments
    }

    /// This process's environment without settings of queuepool and AWS, which would change what is measured or hand
    /// somebody's credentials to it, and with credentials that are none.
    static func environment() -> [String] {
        var variables: [String] = []
        var place = environ
        while let variable = place.pointee {
            variables.append(String(cString: variable))
            place += 1
        }
        return cleaned(variables)
    }

    /// See `environment()`.
    static func cleaned(_ variables: [String]) -> [String] {
        variables.filter { !$0.hasPrefix("AWS_") && !$0.hasPrefix("QUEUEPOOL_") }
            + ["AWS_ACCESS_KEY_ID=any", "AWS_SECRET_ACCESS_KEY=any", "AWS_REGION=us-east-1"]
    }
}
