// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// Messages that one door sends together, in order. Once one of a group fails, the later ones of that group fail too,
/// with its reason (I2).
package struct SendRequest: Sendable {
    /// What became of one message, and the shard that was asked; called once, on any thread.
    package typealias Completion = @Sendable (Result<SendReceipt, ShardError>, PoolShard) -> Void

    struct Entry: Sendable {
        let message: OutgoingMessage
        let position: Int
        let listener: Listener

        /// Says what became of it; once.
        func tell(_ result: Result<SendReceipt, ShardError>, _ shard: PoolShard) { listener.tell(result, shard) }
    }

    /// Who waits for what becomes of an entry.
    enum Listener: Sendable {
        case alone(Completion)
        /// Who waits for all of a request: a closure for each of its entries would be memory for each.
        case gathered(Gathering<Result<SendReceipt, ShardError>>, place: Int)

        func tell(_ result: Result<SendReceipt, ShardError>, _ shard: PoolShard) {
            switch self {
            case .alone(let completion): completion(result, shard)
            case .gathered(let gathering, let place): gathering.put(result, at: place)
            }
        }
    }

    private(set) var entries: [Entry] = []
    private(set) var order: RequestOrder?
    /// A token of the quota was taken for it already.
    let isPaid: Bool

    /// - Parameter order: of a request that comes in parts; `nil` for one that is whole.
    package init(order: RequestOrder? = nil, isPaid: Bool = false) {
        self.order = order
        self.isPaid = isPaid
    }

    package var isEmpty: Bool { entries.isEmpty }

    /// - Parameter position: among all entries of the request, those that were refused too; each larger than the last.
    package mutating func add(_ message: OutgoingMessage, at position: Int, completion: @escaping Completion) {
        entries.append(Entry(message: message, position: position, listener: .alone(completion)))
    }

    /// An entry of another request, which takes this one's place.
    mutating func add(_ entry: Entry) { entries.append(entry) }

    /// Messages that are answered together.
    /// - Parameter positions: as above; `nil` if the messages are all entries of the request.
    mutating func add(
        _ messages: [OutgoingMessage], at positions: [Int]?, _ gathering: Gathering<Result<SendReceipt, ShardError>>
    ) {
        entries.reserveCapacity(entries.count + messages.count)
        for (place, message) in messages.enumerated() {
            entries.append(
                Entry(
                    message: message, position: positions?[place] ?? place,
                    listener: .gathered(gathering, place: place)))
        }
    }

    /// The door refused an entry: the later ones of its group are refused too.
    /// - Parameter hash: of its message group.
    package mutating func refuse(_ position: Int, groupHash hash: UInt64, because error: ShardError) {
        let order = self.order ?? RequestOrder()
        self.order = order
        order.fail(position, group: hash, because: error)
    }

    /// What its entries have in common; the only one of a request has nothing.
    var commonOrder: RequestOrder? { order ?? (entries.count > 1 ? RequestOrder() : nil) }
}
