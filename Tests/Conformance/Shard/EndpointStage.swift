// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSQS
import QueuePoolServer
import QueuePoolTestSupport
import ServiceLifecycle
import Synchronization

// Shards that are queues of a remote service, which here is the server of this project: in this process, on a port of
// its own, over embedded shards. Both ends run on the test's clock, so that visibility ends when the test says so.

/// Remote queues behind a local endpoint.
final class EndpointStage: ShardStage {
    private struct State {
        var server: LocalServer
    }

    private static let engine = CurlEngine()

    let clock = ManualClock()
    private let directory: ScratchDirectory
    private let caller: CountingCaller
    private let state: Mutex<State>
    private let wrap: @Sendable (any ShardFactory, ManualClock) -> any ShardFactory

    init(
        wrap: @escaping @Sendable (any ShardFactory, ManualClock) -> any ShardFactory = { factory, _ in factory }
    ) async throws {
        self.wrap = wrap
        directory = try ScratchDirectory()
        let clock = ServiceClock(clock)
        caller = CountingCaller(
            SignedCaller(
                engine: EndpointStage.engine,
                provider: CredentialProvider(source: FixedCredentials(), clock: clock), clock: clock))
        state = Mutex(State(server: try await LocalServer(directory.path, self.clock)))
    }

    /// A pool of one shard behaves as one queue does.
    func open(_ name: String, _ attributes: QueueAttributes) async throws -> any Shard {
        let server = state.withLock { $0.server }
        try server.ensureQueue(name, attributes)
        let endpoint = "http://127.0.0.1:\(server.port)"
        let address = QueueAddress(
            endpoint: endpoint, region: "us-east-1", queueURL: "\(endpoint)/000000000000/\(name)")
        let factory = QueueFactory { [caller, clock] name, attributes in
            QueueShard(name: name, address: address, attributes: attributes, caller: caller, clock: clock)
        }
        return try wrap(factory, clock).open(name: name, attributes: attributes, address: nil)
    }

    func restart() async throws {
        try await end()
        let server = try await LocalServer(directory.path, clock)
        state.withLock { $0.server = server }
    }

    /// The queue is asked at most every five seconds, and answers later.
    func refreshCounts(of shard: any Shard) async {
        clock.advance(milliseconds: 5_000)
        _ = shard.counts()
        await caller.quiet()
    }

    func end() async throws {
        await caller.quiet()
        try await state.withLock { $0.server }.stop()
    }
}

/// Opens one queue, for what is put around factories.
private struct QueueFactory: ShardFactory {
    let make: @Sendable (String, QueueAttributes) -> QueueShard

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) -> any Shard { make(name, attributes) }
    func remove(name: String, address: ShardAddress?) {}
}

/// Credentials for services that ask for none in particular.
struct FixedCredentials: CredentialSource {
    func load() -> AWSCredentials? { AWSCredentials(accessKeyID: "conformance", secretAccessKey: "conformance") }
}

/// The server in this process.
private final class LocalServer: Sendable {
    let port: Int
    private let registry: PoolRegistry
    private let group: ServiceGroup
    private let run: Task<Void, any Error>

    struct NotListening: Error {}

    init(_ directory: String, _ clock: ManualClock) async throws {
        registry = PoolRegistry(
            store: try SQLiteControlStore(path: directory + "/control.sqlite"),
            factories: [.embedded: try EmbeddedStage.factory(directory, clock)], options: PoolOptions(), clock: clock,
            meaning: { queueAttributes(of: $0) })
        _ = try registry.openAll()
        let (ports, listening) = AsyncStream.makeStream(of: Int.self)
        let logger = Logger(label: "conformance") { _ in SwiftLogNoOpLogHandler() }
        let server = QueueServer(
            registry: registry, options: ServerOptions(host: "127.0.0.1", port: 0), logger: logger,
            onReady: { _ = listening.yield($0) })
        let group = ServiceGroup(services: [server], logger: logger)
        self.group = group
        run = Task {
            defer { listening.finish() }
            try await group.run()
        }
        guard let port = await ports.first(where: { _ in true }) else {
            try await run.value
            throw NotListening()
        }
        self.port = port
    }

    func ensureQueue(_ name: String, _ attributes: QueueAttributes) throws {
        guard registry.pool(name) == nil else { return }
        guard let pool = PoolName(name) else { throw RegistryError.noSuchPool }
        var set = QueueAttributeSet()
        try set.update(
            [
                "VisibilityTimeout": String(attributes.visibilityTimeoutSeconds),
                "DeduplicationScope": attributes.deduplicationScope.rawValue,
            ], queue: name)
        _ = try registry.create(pool, shards: 1, attributes: set.encoded())
    }

    func stop() async throws {
        await group.triggerGracefulShutdown()
        try await run.value
    }
}

/// Knows how many requests are under way, long polls left out: those end when there is something, or with the server.
private final class CountingCaller: AWSCaller {
    private struct State {
        var underWay = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let inner: SignedCaller
    private let state = Mutex(State())

    init(_ inner: SignedCaller) { self.inner = inner }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { try await inner.perform(request) }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        guard !request.isLongPoll else { return inner.perform(request, completion: completion) }
        state.withLock { $0.underWay += 1 }
        inner.perform(request) { [self] result in
            completion(result)
            let waiting = state.withLock { state in
                state.underWay -= 1
                guard state.underWay == 0 else { return [CheckedContinuation<Void, Never>]() }
                defer { state.waiting = [] }
                return state.waiting
            }
            for continuation in waiting { continuation.resume() }
        }
    }

    /// Returns when no request is under way and every answer was taken.
    func quiet() async {
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                if state.underWay > 0 { state.waiting.append(continuation) }
                return state.underWay == 0
            }
            if isQuiet { continuation.resume() }
        }
    }
}
