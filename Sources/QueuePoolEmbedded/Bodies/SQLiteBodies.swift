// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
package import QueuePoolCore
import Synchronization

// The large bodies of all pools of a server, in one file. One thread writes: what waits together is committed together.
// Another one reads, beside it. Removals of many bodies go in steps, and puts that wait come between them.

/// What a server decides of its file of large bodies.
package struct BodiesOptions: Sendable {
    package let clock: any Clock
    /// The largest body.
    package var bodyBytesMax = 64 << 20
    /// Bytes of bodies that may wait for being written; with more, puts are refused.
    package var waitingBytesMax = 256 << 20
    /// Calls of each kind that may wait.
    package var waitingCallsMax = 65_536
    /// Unused bytes in the file that are kept for the next bodies.
    package var unusedBytesKept: Int64 = 16 << 20
    /// What gives the file its data key; `nil`: bodies are stored as they are.
    package var keys: (any StoreKeys)?
    /// Called, on a thread of the file's, with a body's number when that body is not as it was sealed.
    package var reportDamaged: @Sendable (_ number: Int64) -> Void = { _ in }
    /// The name of a registered SQLite VFS to use instead of the default one.
    package var vfs: String?
    /// Bytes that the disk of a directory has left, and has in all; `nil` if that cannot be told.
    package var room: @Sendable (_ directory: String) -> (free: Int64, total: Int64)?

    package init(clock: any Clock) {
        self.clock = clock
        room = { SystemFile.room(at: $0) }
    }
}

/// How much a file of large bodies holds.
package struct BodyCounts: Hashable, Sendable {
    package let bodies: Int
    package let bytes: Int64

    package init(bodies: Int, bytes: Int64) {
        self.bodies = bodies
        self.bytes = bytes
    }
}

/// The large bodies of all pools of a server.
package final class SQLiteBodies: Sendable {
    /// The file's name in the data directory.
    package static let fileName = "bodies.sqlite"

    struct State {
        var operations: Deque<BodyOperation> = []
        /// Bytes of bodies that were put and not answered yet.
        var waitingBytes = 0
        var waitingReads = 0
        var isWriting = false
        var isClosed = false
        var counts = BodyFile.Counts()
    }

    let options: BodiesOptions
    let state: Mutex<State>
    /// Used on `writing` only, once `init` is over.
    let file: BodyFile
    /// Used on `reading` only, once `init` is over.
    private let reader: BodyReader
    private let writing = DispatchQueue(label: "queuepool.bodies")
    private let reading = DispatchQueue(label: "queuepool.bodies.reading")

    /// Opens the file in a data directory, or makes it.
    package init(directory: String, options: BodiesOptions) throws(BodyFileError) {
        self.options = options
        let path = directory + "/" + SQLiteBodies.fileName
        let sealing: StoreSealing?
        do throws(DatabaseError) {
            sealing = try options.keys?.sealing(ofFileAt: path)
        } catch { throw .failed(error) }
        let file = try BodyFile(path: path, vfs: options.vfs, sealing: sealing.map(BodySealing.init))
        var state = State()
        state.counts = file.counts
        self.state = Mutex(state)
        self.file = file
        do throws(DatabaseError) { reader = try BodyReader(path: path, vfs: options.vfs, of: file) } catch {
            throw .failed(error)
        }
    }

    /// The store of one pool.
    /// - Parameter lifetimeMilliseconds: after this time `sweep` may remove a body. It must be longer than a message can be
    ///   kept, in the pool and in its dead-letter queue together; `nil` keeps bodies until they are removed.
    package func store(for pool: PoolName, lifetimeMilliseconds: Int64?) -> SQLiteBodyStore {
        SQLiteBodyStore(pool: pool.text, bodies: self, lifetimeMilliseconds: lifetimeMilliseconds)
    }

    /// Bodies on stable storage.
    package func counts() -> BodyCounts {
        let counts = state.withLock { $0.counts }
        return BodyCounts(bodies: counts.bodies, bytes: counts.bytes)
    }

    /// Removes the bodies of a pool that were put before this call.
    /// - Parameters:
    ///   - madeBefore: leaves younger ones too: a body that was put before a purge may be of a message that is sent after it.
    ///   - completion: gets how many were removed.
    package func removeAll(
        pool: PoolName, madeBefore: Timestamp = Timestamp(milliseconds: .max),
        completion: @escaping @Sendable (Result<Int, BodyStoreError>) -> Void
    ) {
        append(.removeMany(BodyRemoval(scope: .pool(pool.text, madeBefore: madeBefore, last: nil)), completion))
    }

    /// Removes bodies whose lifetime was over at a time. It is for those whose messages ended without a delete; whoever
    /// opened the file calls it from time to time.
    /// - Parameter completion: gets how many were removed.
    package func sweep(before time: Timestamp, completion: @escaping @Sendable (Result<Int, BodyStoreError>) -> Void) {
        append(.removeMany(BodyRemoval(scope: .expired(time)), completion))
    }

    /// Finishes what was asked for, and closes the file. Removals of many bodies end early. Calls after it are refused.
    /// - Important: not from a completion.
    package func close() {
        guard
            state.withLock({ state in
                defer { state.isClosed = true }
                return !state.isClosed
            })
        else { return }
        // Whatever was asked for before stands before these in its queue.
        writing.sync { file.close() }
        reading.sync { reader.close() }
    }

    // MARK: - Calls

    func put(_ put: BodyPut) {
        let bytes = put.body.count
        guard bytes <= options.bodyBytesMax else {
            return refuse(put.completion, .tooLarge(bytes: bytes, allowed: options.bodyBytesMax))
        }
        append(.put(put))
    }

    func append(_ operation: BodyOperation) {
        let bytes = operation.bytes
        // The thread is asked under the lock, so that `close` comes after it.
        let refusal = state.withLock { state -> String? in
            if state.isClosed { return "Closed" }
            let isBusy = state.operations.count >= options.waitingCallsMax
            if isBusy || state.waitingBytes + bytes > options.waitingBytesMax { return "Busy" }
            state.waitingBytes += bytes
            state.operations.append(operation)
            if !state.isWriting { writing.async { self.write() } }
            state.isWriting = true
            return nil
        }
        if let refusal { reading.async { operation.fail(.unavailable(code: refusal)) } }
    }

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        let refusal = state.withLock { state -> String? in
            if state.isClosed { return "Closed" }
            if state.waitingReads >= options.waitingCallsMax { return "Busy" }
            state.waitingReads += 1
            reading.async { self.read(key, bytesMax, completion) }
            return nil
        }
        if let refusal { refuse(completion, .unavailable(code: refusal)) }
    }

    private func read(
        _ key: String, _ bytesMax: Int, _ completion: @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        let result = reader.read(key: key, bytesMax: bytesMax, reportDamaged: options.reportDamaged)
        state.withLock { $0.waitingReads -= 1 }
        completion(result)
    }

    /// Answers from a thread that has no long work.
    func refuse<Value: Sendable>(
        _ completion: @escaping @Sendable (Result<Value, BodyStoreError>) -> Void, _ error: BodyStoreError
    ) {
        reading.async { completion(.failure(error)) }
    }
}
