// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSQS
import Synchronization

// Sends of a remote queue.

extension QueueShard {
    package func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let messages = batch.pull()
        guard !messages.isEmpty else { return answer(.entries([]), completion) }
        guard begin() else { return answer(.failed(.permanent(.closed)), completion) }
        let request = ClientRequest.send(messages, to: client.address.queueURL)
        client.perform(request, timeoutMilliseconds: QueueShard.requestMilliseconds) { [self] result in
            let answers = QueueShard.answers(result, to: messages)
            if case .entries(let outcomes) = answers {
                let stored = outcomes.count { if case .stored = $0 { true } else { false } }
                state.withLock { $0.counts.sent += stored }
            }
            switch result {
            // What was never sent may fail before the call returns.
            case .failure(let error) where error.isOfUnsent: answer(answers, completion)
            default: completion(answers)
            }
            end()
        }
    }

    private static func answers(
        _ result: Result<[UInt8], AWSError>, to messages: [OutgoingMessage]
    ) -> EntryAnswers {
        let body: [UInt8]
        switch result {
        case .success(let bytes): body = bytes
        case .failure(let error): return .failed(error.asRequestFailure)
        }
        guard let answers = try? BatchAnswers.read(body) else { return .failed(.unknownOutcome) }
        // What an answer does not mention may be stored or not.
        var outcomes = [EntryOutcome](repeating: .unknown, count: messages.count)
        for answer in answers where messages.indices.contains(answer.position) {
            outcomes[answer.position] = answer.outcome(of: messages[answer.position])
        }
        return .entries(outcomes)
    }

    /// Answers a batch that goes nowhere; never within the call.
    private func answer(_ answers: EntryAnswers, _ completion: @escaping @Sendable (EntryAnswers) -> Void) {
        clock.schedule(afterMilliseconds: 0) { completion(answers) }
    }
}
