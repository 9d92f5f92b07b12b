// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore
import QueuePoolCore

// Bodies of unknown length, for keys whose bytes are limited. One that is read whole is bounded, so it is counted as it
// comes. A stream of lines has no end: it is not refused in its middle but read no faster than its key may send, and the
// client's writes wait.

/// A request's body that is counted as it is read.
struct MeteredBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    /// No wait is longer, so that a change of the limits takes effect, in milliseconds.
    static let waitMax: Int64 = 500

    let body: RequestBody
    let pass: AccessPass
    let clock: any QueuePoolCore.Clock
    /// Whether nothing is read while the bytes before are not paid for.
    let isPaced: Bool

    struct Iterator: AsyncIteratorProtocol {
        fileprivate var pieces: RequestBody.AsyncIterator
        fileprivate let metered: MeteredBody

        @concurrent mutating func next() async throws -> ByteBuffer? {
            if metered.isPaced { await metered.waitForRoom() }
            guard let piece = try await pieces.next() else { return nil }
            metered.pass.account.charge(bytes: piece.readableBytes, now: metered.clock.now())
            return piece
        }
    }

    func makeAsyncIterator() -> Iterator { Iterator(pieces: body.makeAsyncIterator(), metered: self) }

    private func waitForRoom() async {
        while !Task.isCancelled, !pass.isEnded {
            let wait = pass.account.debtMilliseconds(now: clock.now())
            guard wait > 0 else { return }
            await clock.sleep(milliseconds: Swift.min(wait, MeteredBody.waitMax))
        }
    }
}

extension Request {
    /// Counts the bytes of its body as they are read.
    mutating func meter(_ pass: AccessPass, clock: any QueuePoolCore.Clock, isPaced: Bool) {
        body = RequestBody(asyncSequence: MeteredBody(body: body, pass: pass, clock: clock, isPaced: isPaced))
    }
}

extension Response {
    /// Counts the bytes of its body.
    mutating func meter(_ pass: AccessPass, clock: any QueuePoolCore.Clock) {
        if let length = body.contentLength { return pass.account.charge(bytes: length, now: clock.now()) }
        body = body.map { piece in
            pass.account.charge(bytes: piece.readableBytes, now: clock.now())
            return piece
        }
    }
}
