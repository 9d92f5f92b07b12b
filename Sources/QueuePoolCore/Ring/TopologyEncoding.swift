// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The slot table and the unsettled moves as bytes: owners as 16,384 little-endian u16; moves as (slot, from, to) u16
/// and epoch u32. What every control store keeps, so that a definition means the same in each.
public enum TopologyEncoding {
    public static func encode(slots: SlotTable) -> [UInt8] {
        slots.owners.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    }

    public static func slots(_ bytes: [UInt8]) -> SlotTable? {
        guard bytes.count == 2 * Slot.count else { return nil }
        return SlotTable(owners: (0..<Slot.count).map { UInt16(bytes[2 * $0]) | UInt16(bytes[2 * $0 + 1]) << 8 })
    }

    private static let moveBytes = 10

    public static func encode(history: [SlotMove]) -> [UInt8] {
        history.flatMap { move -> [UInt8] in
            let words = [
                move.slot.index, move.from.number, move.to.number, move.epoch.number & 0xFFFF, move.epoch.number >> 16,
            ]
            return words.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        }
    }

    public static func history(_ bytes: [UInt8]) -> [SlotMove]? {
        guard bytes.count % moveBytes == 0 else { return nil }
        return stride(from: 0, to: bytes.count, by: moveBytes).map { start in
            func word(_ index: Int) -> Int {
                Int(bytes[start + 2 * index]) | Int(bytes[start + 2 * index + 1]) << 8
            }
            return SlotMove(
                slot: Slot(index: word(0) % Slot.count), from: ShardIndex(word(1)), to: ShardIndex(word(2)),
                epoch: Epoch(word(3) | word(4) << 16))
        }
    }
}
