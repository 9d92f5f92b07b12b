// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS

// A message whose body lies in S3 is held with its pointer, and becomes whole for as long as a target has it: what is held
// ready costs no memory, what goes to the dead-letter queue is the pointer, and a body that cannot be read is an outcome
// of a delivery like others, which blocks its own group only (I5).

extension DeliveryTarget {
    /// Delivers a message, after its body was read if that lies elsewhere.
    func deliverWhole(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        guard let stored = message.storedBody, !stored.isHere else {
            return await deliver(message, attempt: attempt, mayBegin: mayBegin)
        }
        let result = await withCheckedContinuation { continuation in
            // No more than the message says, for as much is counted as held.
            stored.store.get(key: stored.pointer.key, bytesMax: stored.byteCount) {
                continuation.resume(returning: $0)
            }
        }
        switch result {
        case .success(let body):
            // Reading may have taken a while.
            guard mayBegin() else { return .cancelled }
            return await deliver(message.whole(body), attempt: attempt, mayBegin: mayBegin)
        case .failure(let error): return DeliveryOutcome(error)
        }
    }
}

extension DeliveryOutcome {
    init(_ error: BodyStoreError) {
        self =
            switch error {
            case .missing: .incomplete(errorClass: "body-missing", isLasting: true)
            case .tooLarge: .incomplete(errorClass: "body-too-large", isLasting: true)
            case .refused(let code): .incomplete(errorClass: "body-" + code, isLasting: true)
            case .unavailable(let code): .incomplete(errorClass: "body-" + code, isLasting: false)
            case .full: .incomplete(errorClass: "body-full", isLasting: false)
            }
    }
}

extension WorkMessage {
    /// The largest body that is read.
    private static let bodyBytesMax = 40 << 20

    /// What it points to and how large that is, if it says that its body is a pointer.
    var pointer: (pointer: BodyPointer, byteCount: Int)? {
        guard body.count <= BodyPointer.textBytesMax,
            let size = attributes.first(where: { BodyPointer.isSizeAttribute($0.name) }),
            let pointer = BodyPointer.read(body)
        else { return nil }
        let byteCount = Int(String(decoding: size.value, as: UTF8.self)).flatMap { $0 >= 0 ? $0 : nil }
        return (pointer, min(byteCount ?? .max, WorkMessage.bodyBytesMax))
    }

    /// As its sender sent it.
    fileprivate func whole(_ body: [UInt8]) -> WorkMessage {
        var message = self
        message.body = body
        message.attributes.removeAll { BodyPointer.isSizeAttribute($0.name) }
        message.storedBody = nil
        return message
    }
}

extension BodyPointer {
    /// Whether an attribute says how large the body is that a message points to.
    static func isSizeAttribute(_ name: String) -> Bool { name == sizeAttribute || name == olderSizeAttribute }
}
