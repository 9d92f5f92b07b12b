// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Who has a receipt handle may delete the message, so nobody may compute one: each carries a seal, 64 bits of a keyed
// hash over all that it says. The key comes from the secret that the shard's file keeps, so handles outlive a clean stop,
// and it goes no further than this index.

extension SipHash128 {
    /// The key of the seals, derived from the secret of the deduplication window.
    ///
    /// A key of its own and not the secret itself, since senders choose what the window hashes, ids and groups: under one
    /// key, a digest of the window could be a seal. Nor can a sender have the window compute the derived key. The label
    /// begins with 255, where an input of the window has the length of a group, at most 128.
    var forSeals: SipHash128 {
        let digest = ([255] + Array("receipt handles".utf8)).withUnsafeBytes { hash($0) }
        return SipHash128(key0: digest.low, key1: digest.high)
    }
}

/// What a handle is that somebody shows.
enum HandleOrigin: Sendable {
    /// It was given out by this shard; nothing is said of whether it is still good.
    case ours
    /// It is another shard's, or nobody gave it.
    case notOurs
    /// It carries no seal: it is from before there were any, or only names a message.
    case unsealed
}

extension FIFOQueue {
    /// Looks at the seal, which comes before anything else is done with a handle from outside: an answer to a handle that
    /// was made up says nothing of the message that it names.
    func origin(of handle: ReceiptHandle) -> HandleOrigin {
        guard handle.shard == tag else { return .notOurs }
        guard let claimed = handle.seal else { return .unsealed }
        // One comparison of two words takes as long wherever they differ.
        let expected = seal(handle.sequence, handle.receiveCount, handle.incarnation, handle.place)
        return claimed == expected ? .ours : .notOurs
    }

    /// The handle of a message's last delivery.
    func sealedHandle(_ place: UInt32, of delivery: Delivery) -> ReceiptHandle {
        let sequence = entries[place].sequence
        return ReceiptHandle(
            shard: tag, sequence: sequence, receiveCount: delivery.receiveCount, incarnation: delivery.incarnation,
            place: place, seal: seal(sequence, delivery.receiveCount, delivery.incarnation, place))
    }

    private func seal(
        _ sequence: SequenceNumber, _ receiveCount: UInt32, _ incarnation: UInt32, _ place: UInt32
    ) -> UInt64 {
        sealKey.code(
            tag.rawValue, UInt64(bitPattern: sequence.rawValue), UInt64(receiveCount) << 32 | UInt64(place),
            UInt64(incarnation))
    }
}
