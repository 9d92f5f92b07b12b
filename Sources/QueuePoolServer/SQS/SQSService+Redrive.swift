// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS

extension SQSService {
    func startMessageMoveTask(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let request = try StartMessageMoveTaskRequest(body)
        let source = try pool(arn: request.sourceArn, "SourceArn", access)
        // By a redrive policy, or by its name the place where workers put what they give up.
        let isDeadLetterQueue = registry.pools.contains {
            $0.attributes.redrive?.deadLetterQueue == source.name.text
                || $0.name.deadLetterQueueName == source.name.text
        }
        guard isDeadLetterQueue else {
            throw SQSError(.invalidParameterValue, "Source queue must be configured as a Dead Letter Queue.")
        }
        var destination: Pool?
        if let arn = request.destinationArn { destination = try pool(arn: arn, "DestinationArn", access) }
        if destination == nil {
            // It goes back to where it came from.
            for home in registry.sources(of: source) { try access.check(home.name.text, in: registry) }
        }
        // What is moved keeps its deduplication id: stored beside itself it is a duplicate, and would then be deleted.
        guard destination?.name != source.name else {
            throw SQSError(.invalidParameterValue, "The destination queue must be another one than the source queue.")
        }
        let handle = MessageID(high: .random(in: .min ... .max), low: .random(in: .min ... .max)).description
        let task = MoveTask(
            handle: handle, source: source, destination: destination, perSecondMax: request.maxPerSecond,
            clock: registry.clock,
            homes: registry.homes(of: source))
        guard registry.start(task, outOf: source, in: moves) else {
            throw SQSError(
                .invalidParameterValue,
                "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
            )
        }
        reply(SQSService.answer { SQSAnswer.taskHandle(handle, to: &$0) })
    }

    private func pool(arn: String, _ parameter: String, _ access: SQSAccess) throws(SQSError) -> Pool {
        let name = QueueReference.name(inARN: arn)
        try access.check(name ?? "", in: registry)
        guard let name, let target = registry.target(name), target.shard == nil else {
            throw SQSError(
                .resourceNotFound, "The resource that you specified for the \(parameter) parameter doesn't exist.")
        }
        return target.pool
    }

    func listMessageMoveTasks(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let request = try ListMessageMoveTasksRequest(body)
        let source = try pool(arn: request.sourceArn, "SourceArn", access)
        let states = moves.tasks(of: source.name).prefix(request.max).map { task in
            let report = task.report
            return MoveTaskState(
                handle: task.handle, status: MoveTaskState.Status(rawValue: report.status.rawValue) ?? .failed,
                sourceArn: request.sourceArn, destinationArn: task.destination.map { naming.arn($0.text) },
                maxPerSecond: task.perSecondMax, moved: report.moved, toMove: report.toMove,
                failureReason: report.failureReason, startedAtMilliseconds: task.startedAt.milliseconds)
        }
        reply(SQSService.answer { SQSAnswer.moveTasks(states, to: &$0) })
    }

    func cancelMessageMoveTask(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: Reply) throws(SQSError) {
        let handle = try CancelMessageMoveTaskRequest(body).taskHandle
        guard MessageID(handle) != nil else {
            throw SQSError(.invalidParameterValue, "Value for parameter TaskHandle is invalid.")
        }
        // Who may not move out of a queue is not told what moves.
        guard let task = moves.task(handle), access.isAllowed(named: task.source.text, in: registry),
            let moved = task.cancel()
        else {
            throw SQSError(.resourceNotFound, "Task does not exist.")
        }
        reply(SQSService.answer { SQSAnswer.movedMessages(moved, to: &$0) })
    }
}
