// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Somewhere that messages are delivered to.
public protocol MessageTarget: Sendable {
    /// Delivers one message. Returning means that it is delivered, and it is deleted from the queue after that.
    ///
    /// Deliveries of different groups run side by side; those of one group one after another, in order. A message may be
    /// delivered more than once, as when a worker dies between delivery and delete: its ``Message/id`` is the same then.
    ///
    /// The task is cancelled when the grace period of a stop is over, and when the message's shard is not this worker's any
    /// more. An error that is thrown after that spends none of the message's attempts; whoever has the message next delivers
    /// it again. A cancelled delivery should end soon: the worker's end waits for it.
    /// - Throws: ``DeliveryRefused``, ``RetryAfter``, or any error for an attempt that failed. Of other errors the
    ///   name of the type goes to the log and the dead-letter queue, and never their text, which may hold contents of the message.
    func deliver(_ message: Message) async throws
}

/// Thrown by a delivery: this message can never be delivered. It goes to the dead-letter queue at once.
public struct DeliveryRefused: Error, Hashable, Sendable {
    /// Why, in a few ASCII letters, digits, dots and hyphens, e.g. `no-such-customer`; goes to the log and the dead-letter
    /// queue, so that it must hold nothing of the message.
    public let errorClass: String

    /// - Parameter errorClass: other characters become hyphens, and it ends after 64.
    public init(errorClass: String) { self.errorClass = ErrorClass.clean(errorClass) }
}

/// Thrown by a delivery: not now, but after some seconds. It is an attempt that failed.
public struct RetryAfter: Error, Hashable, Sendable {
    /// The next attempt begins no earlier than this; more than 30 seconds count as 30.
    public let seconds: Int

    /// - Parameter seconds: less than none counts as none.
    public init(seconds: Int) { self.seconds = max(0, seconds) }
}

/// A target that is one function.
struct ClosureTarget: MessageTarget {
    let body: @Sendable (Message) async throws -> Void

    func deliver(_ message: Message) async throws { try await body(message) }
}

/// Names of kinds of failure that logs can show.
enum ErrorClass {
    private static let bytesMax = 64

    static func clean(_ text: String) -> String {
        let bytes = text.utf8.prefix(bytesMax).map { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                byte
            default: UInt8(ascii: "-")
            }
        }
        return bytes.isEmpty ? "unnamed" : String(decoding: bytes, as: UTF8.self)
    }

    /// An error's type says what kind it is; its text may say more than a log may hold.
    static func of(_ error: any Error) -> String { clean(String(describing: type(of: error))) }
}
