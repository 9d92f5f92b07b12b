// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// One thing that a tracking store may do wrong.
enum TrackingFault: CaseIterable, Sendable {
    case replacesAlways
    case replacesByTimeOnly
    case replacesByRankOnly
    case refusesTheSameTime
    case forgetsWhatStays
    case keepsWhatGoes
    case losesTheTargetOfDelivered
    case findsWhatIsOver
    case endsOneMillisecondLate
    case endsAtFullSeconds
    case keepsTheFirstEnd
    case prolongsByWhatItRefuses
    case mixesPools
    case cutsIDs
    case ignoresCaseOfIDs
    case equatesIDsThatLookTheSame
    case endsTextsAtZero
    case losesEmptyTexts
    case losesEmptyLists
    case takesFiveHundred
    case takesTheFirstOfAMessage
    case turnsASaveRound
    case removesNothing
    case removesAllPools
    case findsNothing

    /// The rules that must notice it.
    var rules: [TrackingRule] {
        switch self {
        case .replacesAlways, .replacesByTimeOnly, .replacesByRankOnly, .refusesTheSameTime: [TrackingRules.replacing]
        case .forgetsWhatStays, .keepsWhatGoes, .losesTheTargetOfDelivered:
            [TrackingRules.keeping, TrackingRules.replacing]
        case .findsWhatIsOver, .endsOneMillisecondLate, .endsAtFullSeconds, .keepsTheFirstEnd,
            .prolongsByWhatItRefuses:
            [TrackingRules.expiry]
        case .mixesPools: [TrackingRules.pools, TrackingRules.removal]
        case .cutsIDs, .ignoresCaseOfIDs, .equatesIDsThatLookTheSame: [TrackingRules.ids]
        case .endsTextsAtZero, .losesEmptyTexts: [TrackingRules.texts]
        case .losesEmptyLists: [TrackingRules.readBack]
        case .takesFiveHundred: [TrackingRules.many]
        case .takesTheFirstOfAMessage, .turnsASaveRound: [TrackingRules.repeated]
        case .removesNothing, .removesAllPools: [TrackingRules.removal]
        case .findsNothing: [TrackingRules.readBack, TrackingRules.many, TrackingRules.manyAtOnce]
        }
    }
}

/// A store in memory, sound unless it has a fault.
final class MemoryTrackingStore: TrackingStore {
    private struct Key: Hashable {
        let pool: String
        let id: [UInt8]
    }

    private struct Row {
        var record: TrackingRecord
        var expiresAt: Timestamp
    }

    private let rows = Mutex<[Key: Row]>([:])
    private let fault: TrackingFault?

    init(_ fault: TrackingFault? = nil) { self.fault = fault }

    func save(_ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp) async throws(TrackingStoreError)
    {
        var told = records
        switch fault {
        case .takesFiveHundred: told = Array(records.prefix(500))
        case .turnsASaveRound: told = records.reversed()
        case .takesTheFirstOfAMessage:
            var ids: Set<String> = []
            told = records.filter { ids.insert($0.id).inserted }
        default: break
        }
        rows.withLock { rows in
            for record in told {
                let key = key(record.id, pool)
                guard let earlier = rows[key] else {
                    rows[key] = Row(record: stored(record), expiresAt: expiresAt)
                    continue
                }
                if let merged = merge(stored(record), earlier.record) {
                    rows[key] = Row(
                        record: merged, expiresAt: fault == .keepsTheFirstEnd ? earlier.expiresAt : expiresAt)
                } else if fault == .prolongsByWhatItRefuses {
                    rows[key]?.expiresAt = expiresAt
                }
            }
        }
    }

    func record(_ id: String, ofPool pool: PoolName, now: Timestamp) async throws(TrackingStoreError) -> TrackingRecord?
    {
        guard fault != .findsNothing, let row = rows.withLock({ $0[key(id, pool)] }) else { return nil }
        let isOver =
            switch fault {
            case .findsWhatIsOver: false
            case .endsOneMillisecondLate: now > row.expiresAt
            case .endsAtFullSeconds: now.milliseconds / 1_000 >= row.expiresAt.milliseconds / 1_000
            default: now >= row.expiresAt
            }
        guard !isOver else { return nil }
        var record = row.record
        record.id = id
        return record
    }

    func removeAll(ofPool pool: PoolName) async throws(TrackingStoreError) {
        if fault == .removesNothing { return }
        rows.withLock { rows in
            rows = rows.filter { fault != .removesAllPools && $0.key.pool != key("", pool).pool }
        }
    }

    private func key(_ id: String, _ pool: PoolName) -> Key {
        var id = id
        switch fault {
        case .cutsIDs: id = String(decoding: id.utf8.prefix(36), as: UTF8.self)
        case .ignoresCaseOfIDs: id = id.lowercased()
        case .equatesIDsThatLookTheSame: if id == "é" { id = "é" }
        default: break
        }
        return Key(pool: fault == .mixesPools ? "" : pool.text, id: Array(id.utf8))
    }

    private func stored(_ told: TrackingRecord) -> TrackingRecord {
        var record = told
        switch fault {
        case .endsTextsAtZero:
            record.tags = told.tags.map { String(decoding: $0.utf8.prefix { $0 != 0 }, as: UTF8.self) }
        case .losesEmptyTexts: if told.tags == "" { record.tags = nil }
        case .losesEmptyLists: if told.recipients == [] { record.recipients = nil }
        default: break
        }
        return record
    }

    private func merge(_ record: TrackingRecord, _ earlier: TrackingRecord) -> TrackingRecord? {
        var (told, before) = (record, earlier)
        switch fault {
        case .replacesAlways: before.state = .queued
        case .replacesByTimeOnly: before.state = record.state
        case .replacesByRankOnly: before.at = min(before.at, record.at)
        case .refusesTheSameTime: if before.at == record.at { before.at = before.at + 1 }
        case .forgetsWhatStays: return record.replacing(earlier) == nil ? nil : record
        case .keepsWhatGoes: told.reason = record.reason ?? earlier.reason
        default: break
        }
        if fault == .replacesAlways { before.at = min(before.at, record.at) }
        var merged = told.replacing(before)
        if fault == .losesTheTargetOfDelivered { merged?.target = record.target }
        return merged
    }
}
