// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSealing
import QueuePoolServer
import QueuePoolSettings

// The data directory of a server and what is opened in it.

/// Makes the directory where it is missing, and keeps other servers out of it for as long as the lock is held.
/// - Throws: `CommandFailure` if it cannot be made or is taken.
func prepareDirectory(_ directory: String) throws -> DirectoryLock {
    for path in [directory, directory + "/shards"]
    where mkdir(path, PrivateFile.directoryMode) != 0 && errno != EEXIST {
        throw CommandFailure(
            "the data directory \(directory) cannot be made: \(systemMessage(errno))", status: ExitStatus.inputOutput)
    }
    do throws(DirectoryLock.Failure) {
        return try DirectoryLock(path: directory + "/lock")
    } catch {
        switch error {
        case .taken:
            throw CommandFailure(
                "the data directory \(directory) is in use by another server", status: ExitStatus.unavailable)
        case .unusable(let code):
            throw CommandFailure(
                "the data directory \(directory) cannot be used: \(systemMessage(code))",
                status: ExitStatus.inputOutput)
        }
    }
}

/// Modes are not changed without being asked: somebody may have opened the files to a backup.
func warnOfWideFiles(in directory: String, logger: Logger) {
    for wide in PrivateFile.wide(in: directory) {
        logger.warning(
            "Others than the owner may read or change stored messages",
            metadata: [
                "path": "\(wide.path)", "mode": "\(wide.mode)", "mend": "chmod \(wide.wanted) \(wide.path)",
            ])
    }
}

/// Opens the shards of embedded pools.
/// - Throws: `CommandFailure` if a file cannot be opened.
func openStores(
    _ settings: ServeSettings, keys: DataKeys?, clock: SystemClock, logger: Logger
) throws -> EmbeddedShardFactory {
    var options = EmbeddedShardOptions(clock: clock)
    if let keys { options.seal(with: keys) }
    options.cacheBytesMax = settings.shard.cacheBytes
    options.memory = ShardMemory(
        cacheBytesMax: settings.storage.cacheBytesMax,
        keysMax: settings.storage.deduplicationEntriesMax ?? MachineMemory.bytes / 4 / ShardMemory.bytesOfKey)
    options.report = { log($0, to: logger) }
    do throws(ShardOpenError) {
        return try EmbeddedShardFactory(directory: settings.dataDirectory + "/shards", options: options)
    } catch {
        throw CommandFailure(
            "the stores in \(settings.dataDirectory)/shards cannot be opened: \(error)", status: ExitStatus.inputOutput)
    }
}

/// Opens the file of idempotency keys.
/// - Throws: `CommandFailure` if it cannot be opened.
func idempotencyOptions(
    _ settings: ServeSettings, keys: DataKeys?, logger: Logger
) throws -> IdempotencyOptions {
    var options = IdempotencyOptions()
    options.windowSeconds = settings.limits.idempotencyWindowSeconds
    options.bytesMax = settings.limits.idempotencyBytesMax
    options.report = { isSaved in
        if isSaved {
            logger.notice("Idempotency keys are written again")
        } else {
            logger.error("Idempotency keys cannot be written: those of now are forgotten when the server stops")
        }
    }
    let path = settings.dataDirectory + "/idempotency.sqlite"
    do throws(DatabaseError) {
        let store = try SQLiteIdempotencyStore(path: path, keys: keys)
        if store.damagedCount > 0 {
            logger.error(
                "Idempotency keys are not as they were sealed; they are forgotten",
                metadata: ["file": "idempotency.sqlite", "keys": "\(store.damagedCount)"])
        }
        options.store = store
    } catch {
        throw CommandFailure("the file \(path) cannot be opened: \(error)", status: ExitStatus.inputOutput)
    }
    return options
}
