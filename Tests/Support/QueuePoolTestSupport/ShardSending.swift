// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

extension Shard {
    /// Stores messages in order: in one batch, or one after the other where no group may be twice in a batch.
    /// - Parameter completion: called with the receipts of all, or with the first failure.
    package func send(
        _ messages: [OutgoingMessage], completion: @escaping @Sendable (Result<[SendReceipt], ShardError>) -> Void
    ) {
        guard traits.storesWholeBatches else { return sendOn(messages[...], [], completion) }
        submit(ShardBatch(messages)) { completion($0.receipts) }
    }

    private func sendOn(
        _ rest: ArraySlice<OutgoingMessage>, _ receipts: [SendReceipt],
        _ completion: @escaping @Sendable (Result<[SendReceipt], ShardError>) -> Void
    ) {
        guard let next = rest.first else { return completion(.success(receipts)) }
        submit(ShardBatch([next])) { [self] answers in
            switch answers.result(at: 0) {
            case .success(let receipt): sendOn(rest.dropFirst(), receipts + [receipt], completion)
            case .failure(let error): completion(.failure(error))
            }
        }
    }
}

extension EntryAnswers {
    /// The receipts of all that was answered for, or the first failure.
    package var receipts: Result<[SendReceipt], ShardError> {
        switch self {
        case .failed(let failure): return .failure(failure.error)
        case .entries(let outcomes):
            do throws(ShardError) {
                var receipts: [SendReceipt] = []
                for outcome in outcomes { receipts.append(try outcome.result.get()) }
                return .success(receipts)
            } catch { return .failure(error) }
        }
    }
}
