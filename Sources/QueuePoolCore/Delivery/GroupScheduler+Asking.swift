// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension GroupScheduler {
    /// When the next attempt at a message may begin; `nil`: now, or it waits for a target, or it is not held.
    public func nextAttempt(at message: WorkMessage) -> Timestamp? {
        let line = lines[GroupKey(shard: message.shard, group: message.group)]
        guard let line, line.messages.first?.id == message.id, case .backingOff(let until) = line.phase
        else { return nil }
        return until
    }
}
