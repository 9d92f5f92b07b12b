// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Who waits for what becomes of the messages of one request.
public protocol SendListener: AnyObject, Sendable {
    /// Says what became of one message; called once for each, on any thread.
    /// - Parameter place: of the message among those of the request, from 0.
    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>)
}

/// Whom to tell what became of one message; told once.
///
/// All tickets of a request name the same listener: a closure for each message would be memory for each.
public struct SendTicket: Sendable {
    private let listener: any SendListener
    private let place: Int

    public init(_ listener: any SendListener, place: Int = 0) {
        self.listener = listener
        self.place = place
    }

    public init(_ complete: @escaping @Sendable (Result<SendReceipt, ShardError>) -> Void) {
        self.init(Completion(complete))
    }

    public func complete(_ result: Result<SendReceipt, ShardError>) { listener.tell(place, result) }
}

private final class Completion: SendListener {
    private let complete: @Sendable (Result<SendReceipt, ShardError>) -> Void

    init(_ complete: @escaping @Sendable (Result<SendReceipt, ShardError>) -> Void) { self.complete = complete }

    func tell(_ place: Int, _ result: Result<SendReceipt, ShardError>) { complete(result) }
}
