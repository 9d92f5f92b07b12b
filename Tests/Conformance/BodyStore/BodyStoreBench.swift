// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// An implementation of the port of bodies that the suite is run against.
enum BodySubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case s3
    /// Each request is done, its first answer is lost, and the client makes it again.
    case s3LosingAnswers
    case sqlite
    case inMemory

    /// All, unless the environment says that the service that stands for S3 is to be left out.
    static var tested: [BodySubject] { Moto.isLeftOut ? [.sqlite, .inMemory] : allCases }

    var testDescription: String {
        switch self {
        case .s3: "S3, for which moto stands"
        case .s3LosingAnswers: "S3, for which moto stands, when answers are lost"
        case .sqlite: "a file of SQLite"
        case .inMemory: "the tests' own"
        }
    }

    func stage() throws -> any BodyStage {
        switch self {
        case .s3: try S3Stage()
        case .s3LosingAnswers: try S3Stage(wrap: { ForgetfulCaller($0) }, pauses: HastyClock())
        case .sqlite: try SQLiteStage()
        case .inMemory: MemoryStage()
        }
    }
}

/// Where one test's bodies are kept.
protocol BodyStage: Sendable {
    /// Another user of the same bodies, as another process has one.
    func open() throws -> any BodyStore
}

private struct MemoryStage: BodyStage {
    private let store = MemoryBodyStore()

    func open() throws -> any BodyStore { store }
}

/// A file of its own, which each user sees as the same pool's.
private final class SQLiteStage: BodyStage {
    private let directory = NSTemporaryDirectory() + "queuepool-bodies-\(UUID().uuidString)"
    private let bodies: SQLiteBodies
    private let pool: PoolName

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        bodies = try SQLiteBodies(directory: directory, options: BodiesOptions(clock: SystemClock()))
        pool = try #require(PoolName("emails.fifo"))
    }

    deinit {
        bodies.close()
        try? FileManager.default.removeItem(atPath: directory)
    }

    func open() throws -> any BodyStore { bodies.store(for: pool, lifetimeMilliseconds: nil) }
}

/// A bucket of its own.
struct S3Stage: BodyStage {
    let folder: S3Folder
    let service: S3Service

    /// - Parameters:
    ///   - wrap: what stands between the store and the service.
    ///   - pauses: by which clock the store waits between attempts.
    init(wrap: (any AWSCaller) -> any AWSCaller = { $0 }, pauses: (any Clock)? = nil) throws {
        let caller = Moto.caller(ServiceClock(Moto.clock))
        let endpoint = try Moto.endpoint()
        func service(_ caller: any AWSCaller, _ clock: any Clock) -> S3Service {
            S3Service(caller: caller, region: Moto.region, endpoint: endpoint, clock: clock)
        }
        folder = try #require(S3Folder("s3://conformance-\(UUID().uuidString.lowercased())/a b/é"))
        self.service = service(wrap(caller), pauses ?? Moto.clock)
        try S3Administrator(service: service(caller, Moto.clock)).create(bucket: folder.bucket)
    }

    func open() throws -> any BodyStore { S3BodyStore(folder: folder, service: service) }
}

/// One rule's working place: two users of the same bodies, and what was found.
final class BodyBench: RuleBench {
    let one: any BodyStore
    let other: any BodyStore
    let findings = Findings()
    // Its files go with it.
    private let stage: any BodyStage

    private init(_ stage: any BodyStage, wrap: (any BodyStore) -> any BodyStore) throws {
        self.stage = stage
        one = wrap(try stage.open())
        other = wrap(try stage.open())
    }

    /// Runs a rule against an implementation.
    /// - Parameter wrap: what a broken implementation puts around a sound one.
    static func run(
        _ rule: @escaping BodyRule, on subject: BodySubject,
        wrap: @escaping @Sendable (any BodyStore) -> any BodyStore = { $0 }
    ) async throws -> Findings {
        try await findings(of: rule) { try BodyBench(try subject.stage(), wrap: wrap) }
    }

    // MARK: - Calls

    /// Stores a body, which must succeed.
    func put(_ body: [UInt8], _ key: String, _ place: SourceLocation = #_sourceLocation) {
        let result = wait(place) { one.put(body, key: key, completion: $0) }
        if case .failure(let error) = result { check(false, "a body of \(body.count) bytes: \(error)", place) }
    }

    /// Reads a body as the other one sees it.
    func get(
        _ key: String, bytesMax: Int = 8 << 20, _ place: SourceLocation = #_sourceLocation
    ) -> Result<[UInt8], BodyStoreError> {
        wait(place) { other.get(key: key, bytesMax: bytesMax, completion: $0) }
    }

    /// Removes a body, which must succeed.
    func remove(_ key: String, _ place: SourceLocation = #_sourceLocation) {
        let result = wait(place) { one.remove(key: key, completion: $0) }
        if case .failure(let error) = result { check(false, "removing: \(error)", place) }
    }

    /// Checks that a body of somebody else's is neither written nor removed.
    func checkForeign(_ key: String, _ place: SourceLocation = #_sourceLocation) {
        let written = wait(place) { one.put([1], key: key, completion: $0) }
        check(BodyBench.isForeign(written), "a foreign body was written: \(written)", place)
        let removed = wait(place) { one.remove(key: key, completion: $0) }
        check(BodyBench.isForeign(removed), "a foreign body was removed: \(removed)", place)
    }

    private static func isForeign(_ result: Result<Void, BodyStoreError>) -> Bool {
        if case .failure(.refused(code: "ForeignKey")) = result { true } else { false }
    }

    /// Checks that there is no such body.
    func checkMissing(_ key: String, _ text: String, _ place: SourceLocation = #_sourceLocation) {
        let result = get(key, place)
        check(result == .failure(.missing), "\(text): \(BodyBench.shown(result)), should have been missing", place)
    }

    /// Checks what is stored, byte for byte.
    func check(_ key: String, is body: [UInt8], _ place: SourceLocation = #_sourceLocation) {
        let result = get(key, place)
        check(result == .success(body), "\(body.count) bytes were stored, read: \(BodyBench.shown(result))", place)
    }

    static func shown(_ result: Result<[UInt8], BodyStoreError>) -> String {
        switch result {
        case .success(let bytes): "\(bytes.count) bytes"
        case .failure(let error): "\(error)"
        }
    }

    /// Makes a call and waits for its end, which must not come within the call.
    private func wait<R: Sendable>(
        _ place: SourceLocation, _ call: (@escaping @Sendable (Result<R, BodyStoreError>) -> Void) -> Void
    ) -> Result<R, BodyStoreError> {
        let ending = Ending<R>()
        call { ending.end($0) }
        guard let result = ending.wait() else {
            check(false, "a call did not end", place)
            return .failure(.unavailable(code: "NoEnd"))
        }
        return result
    }
}

/// A call's end, and how often and where it came.
final class Ending<R: Sendable>: Sendable {
    private struct State {
        var result: Result<R, BodyStoreError>?
        var count = 0
        var threads: [pthread_t] = []
    }

    private let state = Mutex(State())
    private let arrival = DispatchSemaphore(value: 0)

    func end(_ result: Result<R, BodyStoreError>) {
        state.withLock { state in
            state.result = state.result ?? result
            state.count += 1
            state.threads.append(pthread_self())
        }
        arrival.signal()
    }

    /// `nil` if none comes in a time in which every call ends by itself.
    func wait() -> Result<R, BodyStoreError>? {
        guard arrival.wait(timeout: .now() + 100) == .success else { return nil }
        return state.withLock { $0.result }
    }

    var count: Int { state.withLock { $0.count } }
    /// Whether it came on the thread that asks now.
    var wasHere: Bool { state.withLock { $0.threads.contains { pthread_equal($0, pthread_self()) != 0 } } }
}

/// A rule of the port.
typealias BodyRule = @Sendable (BodyBench) -> Void
