// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Logging
import QueuePoolAWS
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSettings

/// The large bodies of a server: those of its own pools in a file of the data directory, those of queues of SQS in S3.
final class ServerBodies: Sendable {
    let options: BodyOptions
    private let own: SQLiteBodies
    /// Dispatch sources may be used from any thread.
    private nonisolated(unsafe) let sweeping: any DispatchSourceTimer

    /// Longer than a message can be kept: fourteen days in its queue, as many in the dead-letter queue, and the same
    /// once more after a redrive.
    private static let lifetimeMilliseconds: Int64 = 4 * 14 * 86_400_000
    private static let sweepSeconds = 3_600

    /// Opens the file.
    /// - Throws: `CommandFailure` if it cannot be opened, or the settings name no place.
    init(
        _ settings: ServeSettings, keys: (any StoreKeys)?, clock: any QueuePoolCore.Clock, logger: Logger
    ) throws {
        let own: SQLiteBodies
        var ownOptions = BodiesOptions(clock: clock)
        ownOptions.keys = keys
        ownOptions.reportDamaged = { number in
            logger.error(
                "A large body is not as it was sealed; its message is held back",
                metadata: ["file": "\(SQLiteBodies.fileName)", "body": "\(number)"])
        }
        do throws(BodyFileError) {
            own = try SQLiteBodies(directory: settings.dataDirectory, options: ownOptions)
        } catch {
            throw CommandFailure(
                "the file \(settings.dataDirectory)/\(SQLiteBodies.fileName) cannot be opened: \(error)",
                status: ExitStatus.inputOutput)
        }
        let control = settings.control
        let remote = S3Bodies(bytesMax: min(settings.bodies.limitBytes, S3BodyStore.bytesMax)) {
            try AWSAccess(control, clock: clock)
        }
        let usual = try settings.bodies.place.map { try ServerBodies.place($0, control, clock) }
        let named: @Sendable (PoolDefinition) -> PoolDefinition = { pool in
            guard pool.bodies == nil, pool.backend == .sqs, let usual else { return pool }
            var pool = pool
            pool.bodies = .s3(usual)
            return pool
        }
        var options = BodyOptions(
            store: { pool in
                pool.backend == .embedded
                    ? own.store(for: pool.name, lifetimeMilliseconds: ServerBodies.lifetimeMilliseconds)
                    : remote.store(of: named(pool))
            },
            place: { pool, pointer in
                guard pointer.bucket == BodyPointer.embeddedBucket else {
                    return remote.place(of: named(pool), pointer)
                }
                let owner = pointer.key.lastIndex(of: "/").flatMap { PoolName(String(pointer.key[..<$0])) }
                return owner.map { own.store(for: $0, lifetimeMilliseconds: ServerBodies.lifetimeMilliseconds) }
            },
            removeAll: { pool, time in
                guard pool.backend == .embedded else { return }
                own.removeAll(pool: pool.name, madeBefore: time) { result in
                    if case .failure(let error) = result { ServerBodies.warn(error, pool.name, logger) }
                }
            })
        options.thresholdBytes = settings.bodies.thresholdBytes
        options.limitBytes = settings.bodies.limitBytes
        options.counts = {
            let counts = own.counts()
            return (counts.bodies, counts.bytes)
        }
        options.report = { pool, messages in
            logger.error(
                "Bodies of messages are missing; the messages are held back",
                metadata: [
                    "pool": "\(pool)", "messages": "\(messages.map { "\($0)" }.joined(separator: " "))",
                ])
        }
        self.options = options
        self.own = own
        let timer = DispatchSource.makeTimerSource(queue: .global())
        timer.schedule(deadline: .now(), repeating: .seconds(ServerBodies.sweepSeconds), leeway: .seconds(60))
        timer.setEventHandler { own.sweep(before: clock.now()) { _ in } }
        timer.resume()
        sweeping = timer
    }

    /// Finishes what was asked for. After the last shard is closed.
    func close() {
        sweeping.cancel()
        own.close()
    }

    private static func warn(_ error: BodyStoreError, _ pool: PoolName, _ logger: Logger) {
        logger.warning(
            "Large bodies of a pool were not removed; they go when their lifetime is over",
            metadata: ["pool": "\(pool)", "error": "\(error)"])
    }

    /// The place that the settings name, in the region and at the endpoint of this process.
    private static func place(
        _ text: String, _ control: ControlSettings, _ clock: any QueuePoolCore.Clock
    ) throws -> BodyBucket {
        guard let folder = S3Folder(text) else {
            throw CommandFailure(
                "setting '\(Setting.bodies.key)' is not a bucket and a prefix", status: ExitStatus.configuration)
        }
        let access = try AWSAccess(control, clock: clock)
        let endpoint = try access.endpoint("s3")
        return BodyBucket(
            bucket: folder.bucket, prefix: folder.prefix, region: access.region,
            endpoint: endpoint.contains(".amazonaws.com") ? nil : endpoint)
    }
}
