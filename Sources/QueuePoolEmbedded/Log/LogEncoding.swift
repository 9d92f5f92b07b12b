// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// The bytes of the log's `head` column. Little-endian, fixed width, so that five million entries are read at the speed
// of memory. A head that does not parse is a damaged file and is said so; it never traps.

/// A deduplication key in the log, with its message.
typealias LogKey = (key: Hash128, sequence: SequenceNumber)

/// A block's head: where its messages lie, and the deduplication keys that came with them.
struct BlockHead {
    var directory: [DirectoryEntry]
    var keys: [LogKey]
}

extension LogKind {
    /// What was received, each delivery with the opening of the shard that made it; `deliveries` are without.
    static let deliveriesOfOpenings: Int64 = 5
}

enum LogEncoding {
    private static let entryBytes = 24

    // MARK: - Blocks

    static func encode(_ draft: BlockDraft) -> [UInt8] {
        encode(directory: draft.directory, keys: zip(draft.keys, draft.directory).map { ($0, $1.sequence) })
    }

    static func encode(directory: [DirectoryEntry], keys: [(key: Hash128, sequence: SequenceNumber)]) -> [UInt8] {
        bytes(8 + entryBytes * (directory.count + keys.count)) { out in
            out.put(UInt32(directory.count))
            out.put(UInt32(keys.count))
            for entry in directory {
                out.put(entry.sequence.rawValue)
                out.put(entry.offset)
                out.put(entry.length)
                out.put(entry.groupHash)
            }
            put(keys, &out)
        }
    }

    static func blockHead(_ head: [UInt8]) -> BlockHead? {
        head.withUnsafeBytes { raw in
            guard raw.count >= 8 else { return nil }
            var input = Cursor(raw)
            let (entries, keys) = (Int(input.take() as UInt32), Int(input.take() as UInt32))
            guard raw.count == 8 + entryBytes * (entries + keys) else { return nil }
            var block = BlockHead(directory: [], keys: [])
            block.directory.reserveCapacity(entries)
            for _ in 0..<entries {
                block.directory.append(
                    DirectoryEntry(
                        sequence: SequenceNumber(rawValue: input.take()), offset: input.take(), length: input.take(),
                        groupHash: input.take()))
            }
            block.keys = takeKeys(keys, &input)
            return block
        }
    }

    // MARK: - Deduplication keys

    static func encode(keys: [(key: Hash128, sequence: SequenceNumber)]) -> [UInt8] {
        bytes(entryBytes * keys.count) { put(keys, &$0) }
    }

    static func keys(_ head: [UInt8]) -> [(key: Hash128, sequence: SequenceNumber)]? {
        guard head.count % entryBytes == 0 else { return nil }
        return head.withUnsafeBytes { raw in
            var input = Cursor(raw)
            return takeKeys(raw.count / entryBytes, &input)
        }
    }

    private static func put(_ keys: [(key: Hash128, sequence: SequenceNumber)], _ out: inout Pen) {
        for (key, sequence) in keys {
            out.put(sequence.rawValue)
            out.put(key.low)
            out.put(key.high)
        }
    }

    private static func takeKeys(_ count: Int, _ input: inout Cursor) -> [(key: Hash128, sequence: SequenceNumber)] {
        var keys: [(key: Hash128, sequence: SequenceNumber)] = []
        keys.reserveCapacity(count)
        for _ in 0..<count {
            let sequence = SequenceNumber(rawValue: input.take())
            let low: UInt64 = input.take()
            keys.append((Hash128(high: input.take(), low: low), sequence))
        }
        return keys
    }

    // MARK: - Deletions

    static func encode(deletions: [SequenceNumber]) -> [UInt8] {
        bytes(8 * deletions.count) { out in
            for sequence in deletions { out.put(sequence.rawValue) }
        }
    }

    static func deletions(_ head: [UInt8]) -> [SequenceNumber]? {
        guard head.count % 8 == 0 else { return nil }
        return head.withUnsafeBytes { raw in
            var input = Cursor(raw)
            return (0..<(raw.count / 8)).map { _ in SequenceNumber(rawValue: input.take()) }
        }
    }

    // MARK: - Deliveries over a clean restart

    private static let stateBytes = 40
    /// Of states that do not tell their opening.
    private static let olderStateBytes = 36

    static func encode(states: some Collection<DeliveryState>, lastSequence: SequenceNumber) -> [UInt8] {
        bytes(8 + stateBytes * states.count) { out in
            out.put(lastSequence.rawValue)
            for state in states {
                out.put(state.sequence.rawValue)
                out.put(state.visibleAt.milliseconds)
                out.put(state.receivedAt.milliseconds)
                out.put(state.firstReceivedAt.milliseconds)
                out.put(state.receiveCount)
                out.put(state.incarnation)
            }
        }
    }

    static func states(
        _ head: [UInt8], kind: Int64
    ) -> (states: [DeliveryState], lastSequence: SequenceNumber)? {
        let isOlder = kind == LogKind.deliveries
        let size = isOlder ? olderStateBytes : stateBytes
        guard head.count >= 8, (head.count - 8) % size == 0 else { return nil }
        return head.withUnsafeBytes { raw in
            var input = Cursor(raw)
            let last = SequenceNumber(rawValue: input.take())
            let states = (0..<((raw.count - 8) / size)).map { _ in
                let sequence = SequenceNumber(rawValue: input.take())
                let visibleAt = Timestamp(milliseconds: input.take())
                let receivedAt = Timestamp(milliseconds: input.take())
                let first = Timestamp(milliseconds: input.take())
                return DeliveryState(
                    sequence: sequence, receiveCount: input.take(), visibleAt: visibleAt, receivedAt: receivedAt,
                    firstReceivedAt: first, incarnation: isOlder ? 0 : input.take())
            }
            return (states, last)
        }
    }

    private static func bytes(_ count: Int, _ write: (inout Pen) -> Void) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            var pen = Pen(out: UnsafeMutableRawBufferPointer(buffer))
            write(&pen)
            filled = pen.offset
        }
    }

    private struct Pen {
        let out: UnsafeMutableRawBufferPointer
        var offset = 0

        init(out: UnsafeMutableRawBufferPointer) { self.out = out }

        mutating func put<T: FixedWidthInteger>(_ value: T) {
            out.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
            offset += MemoryLayout<T>.size
        }
    }

    private struct Cursor {
        let input: UnsafeRawBufferPointer
        var offset = 0

        init(_ input: UnsafeRawBufferPointer) { self.input = input }

        mutating func take<T: FixedWidthInteger>() -> T {
            defer { offset += MemoryLayout<T>.size }
            return T(littleEndian: input.loadUnaligned(fromByteOffset: offset, as: T.self))
        }
    }
}
