// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime

/// Writes what happened in a pool as one line each: pool, epoch, shard and message ids, never content (I6).
func log(_ event: PoolEvent, to logger: Logger) {
    var metadata: Logger.Metadata = ["pool": "\(event.pool)"]
    if let epoch = event.epoch { metadata["epoch"] = "\(epoch.number)" }
    switch event.kind {
    case .opened(let shards, let messages):
        metadata["shards"] = "\(shards)"
        metadata["messages"] = "\(messages)"
        logger.info("Pool opened", metadata: metadata)
    case .created(let shards):
        metadata["shards"] = "\(shards)"
        metadata["messages"] = "0"
        logger.notice("Pool created", metadata: metadata)
    case .deleted(let messages):
        metadata["messages"] = "\(messages)"
        logger.notice("Pool deleted", metadata: metadata)
    case .unreadable:
        logger.error(
            "What is stored of the pool cannot be read: it is neither opened nor changed, the others are served",
            metadata: metadata)
    case .closed: logger.notice("Pool closed: another server deleted it", metadata: metadata)
    case .purged(let shard, let messages):
        if let shard { metadata["shard"] = "\(shard)" }
        metadata["messages"] = "\(messages)"
        logger.notice("Purged", metadata: metadata)
    case .moved(let handle, let report): log(report, of: handle, metadata, to: logger)
    case .shard(let name, let event):
        metadata["shard"] = "\(name)"
        log(event, metadata, to: logger)
    }
}

/// How a redrive ended. Its reason is made of words of this program and of counts.
private func log(_ report: MoveTask.Report, of handle: String, _ metadata: Logger.Metadata, to logger: Logger) {
    var metadata = metadata
    metadata["task"] = "\(handle)"
    metadata["status"] = "\(report.status.rawValue)"
    metadata["messages"] = "\(report.moved)"
    metadata["waiting-at-start"] = "\(report.toMove)"
    if let reason = report.failureReason { metadata["reason"] = "\(reason)" }
    logger.log(level: report.failureReason == nil ? .notice : .warning, "Redrive ended", metadata: metadata)
}

private func log(_ event: ShardEvent, _ metadata: Logger.Metadata, to logger: Logger) {
    var metadata = metadata
    switch event {
    case .commitsFail(let error):
        metadata["error"] = "\(error)"
        logger.error("Commits fail: nothing of them is acknowledged", metadata: metadata)
    case .commitsSucceedAgain: logger.notice("Commits succeed again", metadata: metadata)
    case .movedToDeadLetter(let ids):
        for id in ids {
            metadata["message.id"] = "\(id)"
            logger.notice("Received too often: moved to the dead-letter queue", metadata: metadata)
        }
    case .deadLetterFailed(let ids):
        for id in ids {
            metadata["message.id"] = "\(id)"
            logger.warning("The dead-letter queue did not take the message", metadata: metadata)
        }
    case .expired(let ids):
        metadata["messages"] = "\(ids.count)"
        logger.notice("Dropped by retention", metadata: metadata)
    case .damaged(let id):
        metadata["message.id"] = "\(id)"
        logger.error(
            "A received message does not fit its digest: it is left to its visibility timeout", metadata: metadata)
    }
}

/// Writes what happened to the stores' files as one line each.
func log(_ event: StorageEvent, to logger: Logger) {
    switch event {
    case .began(let file, let problem):
        logger.error("Sends are refused", metadata: ["file": "\(file)", "reason": "\(problem)"])
    case .roomAgain: logger.notice("The disk has room again: sends are taken")
    case .unopened(let file, let shard, let row):
        logger.error(
            "A row is not as it was sealed: its messages are given to nobody, and their groups wait",
            metadata: ["file": "\(file)", "shard": "\(shard)", "row": "\(row)"])
    }
}
