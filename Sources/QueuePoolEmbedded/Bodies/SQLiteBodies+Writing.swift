// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// What the writing thread does. Nobody is answered while a lock is held: an answer may call again.

extension SQLiteBodies {
    /// What one commit may hold. A body is larger than most of what waits behind it, and a commit's pages go through the
    /// log, which must not grow by all that waits.
    private static let batchBytesMax = 64 << 20
    private static let batchCallsMax = 256
    /// Bodies that one step of a removal removes, and pages that one step gives back to the disk.
    private static let removedMax = 256
    private static let givenBackMax: Int64 = 1_024

    private enum Work {
        case batch([BodyOperation])
        case removal(BodyRemoval, @Sendable (Result<Int, BodyStoreError>) -> Void)
    }

    /// Works until nothing waits and the file is in order.
    func write() {
        while true {
            while let work = take() {
                switch work {
                case .batch(let batch): commit(batch)
                case .removal(let removal, let completion): step(removal, completion)
                }
                file.checkpoint(always: false)
            }
            if !giveBack(), endTurn() { return }
        }
    }

    private func take() -> Work? {
        state.withLock { state in
            guard let first = state.operations.first else { return nil }
            if case .removeMany(let removal, let completion) = first {
                state.operations.removeFirst()
                return .removal(removal, completion)
            }
            var batch: [BodyOperation] = []
            var bytes = 0
            while let next = state.operations.first, batch.count < SQLiteBodies.batchCallsMax {
                if case .removeMany = next { break }
                if !batch.isEmpty, bytes + next.bytes > SQLiteBodies.batchBytesMax { break }
                bytes += next.bytes
                batch.append(next)
                state.operations.removeFirst()
            }
            return .batch(batch)
        }
    }

    /// - Returns: whether nothing came meanwhile.
    private func endTurn() -> Bool {
        state.withLock { state in
            if state.operations.isEmpty { state.isWriting = false }
            return !state.isWriting
        }
    }

    // MARK: - Puts and removals of one

    private func commit(_ batch: [BodyOperation]) {
        var fitting: [BodyOperation] = []
        var free = freeBytes()
        for operation in batch {
            // A body is written twice, into the log and from there into the file.
            let needed = 2 * Int64(operation.bytes)
            if case .put = operation, needed > free {
                answer(operation, .full)
            } else {
                free -= needed
                fitting.append(operation)
            }
        }
        guard !fitting.isEmpty else { return }
        guard let error = attempt(fitting) else { return fitting.forEach { answer($0, nil) } }
        // What one of them cannot have is not the others' fault.
        guard fitting.count > 1, file.brokenBy == nil else {
            return fitting.forEach { answer($0, error) }
        }
        for operation in fitting { answer(operation, attempt([operation])) }
    }

    /// What puts may use: a store that fills its disk cannot be emptied any more, because removals are written too.
    private func freeBytes() -> Int64 {
        guard let room = options.room(file.directory) else { return .max }
        return room.free - StoreRoom(free: room.free, total: room.total).reserve
    }

    private func attempt(_ batch: [BodyOperation]) -> BodyStoreError? {
        let now = options.clock.now()
        return changing { (file) throws(DatabaseError) in
            for operation in batch {
                switch operation {
                case .put(let put):
                    try file.insert(
                        put.body, key: put.key, pool: put.pool, madeAt: now,
                        expiresAt: put.lifetimeMilliseconds.map { now + $0 })
                case .remove(let key, _): try file.remove(key: key)
                case .removeMany: break
                }
            }
        }
    }

    private func changing(_ body: (BodyFile) throws(DatabaseError) -> Void) -> BodyStoreError? {
        do throws(DatabaseError) {
            try file.commit { () throws(DatabaseError) in try body(file) }
        } catch { return error.asBodyStoreError }
        let counts = file.counts
        state.withLock { $0.counts = counts }
        return nil
    }

    private func answer(_ operation: BodyOperation, _ error: BodyStoreError?) {
        state.withLock { $0.waitingBytes -= operation.bytes }
        switch (operation, error) {
        case (_, let error?): operation.fail(error)
        case (.put(let put), nil): put.completion(.success(()))
        case (.remove(_, let completion), nil): completion(.success(()))
        case (.removeMany, nil): break
        }
    }

    // MARK: - Removals of many

    private func step(_ before: BodyRemoval, _ completion: @escaping @Sendable (Result<Int, BodyStoreError>) -> Void) {
        var removal = before
        var count = 0
        let error = changing { (file) throws(DatabaseError) in
            switch removal.scope {
            case .pool(let pool, let madeBefore, let known):
                let last = known ?? file.lastNumber
                removal.scope = .pool(pool, madeBefore: madeBefore, last: last)
                count = try file.remove(
                    pool: pool, through: last, madeBefore: madeBefore, limit: SQLiteBodies.removedMax)
            case .expired(let time):
                count = try file.remove(expiredAt: time, limit: SQLiteBodies.removedMax)
            }
        }
        if let error { return completion(.failure(error)) }
        guard count > 0 else { return completion(.success(removal.removed)) }
        removal.removed += count
        // Behind what came meanwhile, whose bodies have higher numbers.
        let isClosed = state.withLock { state in
            if !state.isClosed { state.operations.append(.removeMany(removal, completion)) }
            return state.isClosed
        }
        if isClosed { completion(.failure(.unavailable(code: "Closed"))) }
    }

    // MARK: - Upkeep

    /// - Returns: whether there is more to give back.
    private func giveBack() -> Bool {
        guard file.brokenBy == nil, !state.withLock({ $0.isClosed }) else { return false }
        let kept = options.unusedBytesKept / BodyFile.pageBytes
        let hasMore = (try? file.giveBack(pages: SQLiteBodies.givenBackMax, keeping: kept)) ?? false
        // The file becomes shorter when the log is copied into it.
        if !hasMore, file.hasGivenBack { file.checkpoint(always: true) }
        return hasMore
    }
}
