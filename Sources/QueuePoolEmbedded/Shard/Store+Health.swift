// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

extension Store {
    /// What sends are answered now; `nil` if they are taken.
    var refusal: ShardError? { health.problem == .full ? .storageFull : nil }

    /// Once a second: whether the file is where it was, and whether there is room.
    func look() {
        file.checkPlace()
        if let error = file.brokenBy { return note(error.isMoved ? .moved : .broken(code: error.code)) }
        shrinkWhenQuiet()
        // What was deleted makes room in the file only when it is deleted there.
        if health.problem == .full { pool.waiting { file.checkpoint() } }
        guard let room = file.room() else { return }
        note(.looked(room))
        // Not at the price of sends, whose log must be able to grow.
        let byteCount = ReserveFile.byteCount(for: room)
        if health.problem == nil, min(room.free - room.reserve, room.growth) >= 2 * byteCount {
            reserve?.restore(byteCount)
        }
    }

    /// Looks without a new row between them after which a store is quiet.
    static let quietLooksMin = 10

    private func shrinkWhenQuiet() {
        quietLooks = file.nextRow == rowAtLook ? quietLooks + 1 : 0
        rowAtLook = file.nextRow
        if quietLooks > 0, quietLooks % Store.quietLooksMin == 0 { pool.waiting { file.shrink() } }
    }

    /// Runs `body` until it does not fail for lack of room: first sends stop, then the reserve is given up.
    func makingRoom(_ body: () -> ShardError?) -> ShardError? {
        var failure = body()
        guard failure == .storageFull else { return failure }
        note(.foundNoRoom)
        // The log begins anew at its start, if the file has room for its pages.
        file.checkpoint()
        failure = body()
        guard failure == .storageFull, let reserve else { return failure }
        reserve.release()
        file.checkpoint()
        return body()
    }

    /// The same for what throws.
    func makingRoom(_ body: () throws(DatabaseError) -> Void) throws(DatabaseError) {
        var failure: DatabaseError?
        let isFailed = makingRoom { () -> ShardError? in
            do throws(DatabaseError) { try body() } catch {
                failure = error
                return LogFile.isForRoom(error) ? .storageFull : .storageFailed(code: error.code)
            }
            return nil
        }
        if isFailed != nil, let failure { throw failure }
    }

    private func note(_ event: StoreHealth.Event) {
        guard health.handle(event) else { return }
        // While there is room for the log's pages in the file, so that deletes have the log.
        if health.problem == .full { file.checkpoint() }
        watch?.set(health.problem, of: path)
    }
}
