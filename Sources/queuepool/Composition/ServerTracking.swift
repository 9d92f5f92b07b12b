// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolServer
import QueuePoolSettings
import Synchronization

/// The table in which processes on several machines share what became of messages; `nil` for a control store that is a
/// file.
func sharedTrackingStore(
    _ settings: ControlSettings, clock: any QueuePoolCore.Clock
) throws -> (any TrackingStore)? {
    guard case .dynamoDB(let name) = settings.address else { return nil }
    return DynamoDBTrackingStore(table: try dynamoDBTable(name, try AWSAccess(settings, clock: clock)))
}

/// Where a server keeps what became of messages, and the pool that outcomes go to.
final class ServerTracking: Sendable {
    private static let stopMilliseconds: Int64 = 3_000
    private static let sweepMilliseconds: Int64 = 60_000

    let tracking: MessageTracking
    private let own: SQLiteTrackingStore?
    private let outcomes: OutcomesPool?

    /// - Returns: `nil` if tracking is off.
    /// - Throws: `CommandFailure` if the file cannot be opened.
    init?(
        _ settings: ServeSettings, keys: (any StoreKeys)?, clock: any QueuePoolCore.Clock, logger: Logger
    ) throws {
        guard settings.tracking.isOn else { return nil }
        let store: any TrackingStore
        if let shared = try sharedTrackingStore(settings.control, clock: clock) {
            (store, own) = (shared, nil)
        } else {
            let path = settings.dataDirectory + "/tracking.sqlite"
            do throws(DatabaseError) {
                let file = try SQLiteTrackingStore(path: path, bytesMax: settings.tracking.bytesMax, keys: keys) {
                    logger.error(
                        "Tracking records are not as they were sealed; nothing is known of their messages",
                        metadata: ["file": "\(SQLiteTrackingStore.fileName)", "records": "\($0)"])
                }
                (store, own) = (file, file)
            } catch {
                throw CommandFailure("the file \(path) cannot be opened: \(error)", status: ExitStatus.inputOutput)
            }
        }
        if let own { ServerTracking.sweep(own, clock) }
        let outcomes = settings.tracking.outcomesPool.map(OutcomesPool.init)
        self.outcomes = outcomes
        tracking = MessageTracking(store: store, keepMilliseconds: settings.tracking.keepMilliseconds, clock: clock) {
            await outcomes?.publish($0, of: $1) ?? true
        }
    }

    /// Outcomes go to a pool of these, which are open.
    /// - Throws: `CommandFailure` if it is not among them.
    func connect(_ registry: PoolRegistry) throws {
        guard let outcomes else { return }
        guard registry.pool(outcomes.name.text) != nil else {
            throw CommandFailure(
                "setting 'tracking.outcomes-pool': there is no pool \(outcomes.name); make it with --pool "
                    + "\(outcomes.name)=SHARDS", status: ExitStatus.configuration)
        }
        outcomes.connect(registry)
    }

    /// Looks for what is over, again and again: a store without a clock would keep it while nothing comes.
    private static func sweep(_ store: SQLiteTrackingStore, _ clock: any QueuePoolCore.Clock) {
        clock.schedule(afterMilliseconds: sweepMilliseconds) { [weak store] in
            guard let store else { return }
            Task {
                _ = try? await store.removeExpired(now: clock.wallTime())
                sweep(store, clock)
            }
        }
    }

    /// Saves what is left.
    func close(_ clock: any QueuePoolCore.Clock) async {
        await tracking.finish(deadline: clock.now() + ServerTracking.stopMilliseconds)
        own?.close()
    }
}

/// The pool to which outcomes are sent.
final class OutcomesPool: Sendable {
    let name: PoolName
    private let registry = Mutex<PoolRegistry?>(nil)

    init(_ name: PoolName) { self.name = name }

    func connect(_ registry: PoolRegistry) { self.registry.withLock { $0 = registry } }

    /// Sends outcomes, each in a group of its message, so that what follows in the life of one message follows here.
    /// - Returns: whether all are stored. Without such a pool they are not: who tells them tells them again.
    func publish(_ records: [TrackingRecord], of pool: PoolName) async -> Bool {
        // What becomes of outcomes is nobody's outcome.
        if pool == name { return true }
        guard let target = registry.withLock({ $0 })?.pool(name.text) else { return false }
        let messages = records.map { record in
            let group = Array(record.id.utf8)
            let body = TrackingDocument.outcome(record, pool: pool)
            // A record that is told again is the same; a second delivery at another time is not.
            let id = Array("\(record.state.rawValue)/\(record.id)/\(record.at.milliseconds)".utf8)
            let bytes = body.withUnsafeBytes { body in
                MessageRecord(
                    group: group, deduplicationID: id, body: body,
                    attributes: [MessageAttribute(name: "Content-Type", text: "application/json")])
            }
            return OutgoingMessage(record: bytes, groupHash: group.withUnsafeBytes { XXHash64.hash($0) })
        }
        let results = await withCheckedContinuation { continuation in
            target.send(messages) { continuation.resume(returning: $0) }
        }
        return results.allSatisfy { if case .success = $0 { true } else { false } }
    }
}
