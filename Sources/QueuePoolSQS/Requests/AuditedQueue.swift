// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The queue that an administrative request is about, for those who have to know it before the request is carried out.
public enum AuditedQueue {
    /// What a request of a move task names instead of a queue.
    public enum Name: Hashable, Sendable {
        case queue(String)
        case task(String)
    }

    /// Reads it as the request itself is read, so that both mean the same one.
    /// - Returns: `nil` if the action names none, or the request cannot be read; it is then not carried out either.
    public static func name(of action: SQSAction, _ body: UnsafeRawBufferPointer) -> Name? {
        guard let members = try? AdminMembers(body) else { return nil }
        switch action {
        case .createQueue: return members.name.map { .queue($0) }
        case .startMessageMoveTask, .listMessageMoveTasks:
            return members.sourceArn.flatMap { QueueReference.name(inARN: $0) }.map { .queue($0) }
        case .cancelMessageMoveTask: return members.taskHandle.map { .task($0) }
        default: return members.queue.map { .queue($0) }
        }
    }
}
