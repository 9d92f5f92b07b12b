// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import QueuePoolCore

// How the parts of a record lie in their columns. Texts are BLOBs of their UTF-8, because a text of SQLite's ends at its
// first zero.

/// The part of a row's key that stands for a message's id.
enum TrackingKey {
    /// No text of UTF-8 ends with it.
    private static let filler: UInt8 = 0xFF
    static let uuidBytes = 16

    /// A UUID as it is written here has 16 bytes, and those of one shard sort by age: rows come at the end of a page and
    /// leave from its start. Any other id has more than 16, so that no two ids have one key.
    static func bytes(of id: String) -> [UInt8] {
        if let uuid = uuid(id) { return uuid }
        var bytes = Array(id.utf8)
        repeat { bytes.append(filler) } while bytes.count <= uuidBytes
        return bytes
    }

    /// - Returns: `nil` also for a UUID with digits of upper case, which is another id.
    private static func uuid(_ id: String) -> [UInt8]? {
        guard id.utf8.count == 36 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(uuidBytes)
        var half: UInt8?
        for (place, character) in id.utf8.enumerated() {
            if place == 8 || place == 13 || place == 18 || place == 23 {
                guard character == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = digit(character) else { return nil }
            if let high = half {
                bytes.append(high << 4 | digit)
                half = nil
            } else {
                half = digit
            }
        }
        return bytes
    }

    private static func digit(_ character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - 87
        default: nil
        }
    }
}

extension TrackingState {
    /// As files have it; fixed, because they outlive the program that wrote them.
    var code: Int64 {
        switch self {
        case .queued: 0
        case .inFlight: 1
        case .retrying: 2
        case .sent: 3
        case .delivered: 4
        case .dead: 5
        case .expired: 6
        }
    }

    /// - Returns: `nil` for a number that is none of a state.
    init?(code: Int64) {
        guard let state = TrackingState.allCases.first(where: { $0.code == code }) else { return nil }
        self = state
    }
}

extension Statement {
    /// Binds a whole number, or nothing.
    func bind(_ index: Int32, optional value: Int64?) {
        if let value { bind(index, value) } else { bindNull(index) }
    }

    /// Binds a text's UTF-8, or nothing.
    func bind(_ index: Int32, optional text: String?) {
        if let text { bind(index, copying: Array(text.utf8)) } else { bindNull(index) }
    }

    /// Binds whole numbers as the text of them, or nothing.
    func bind(_ index: Int32, optional numbers: [Int]?) {
        bind(index, optional: numbers.map { $0.map(String.init).joined(separator: ",") })
    }

    func optionalInteger(_ column: Int32) -> Int64? { isNull(column) ? nil : integer(column) }

    func optionalText(_ column: Int32) -> String? {
        isNull(column) ? nil : String(decoding: bytes(column), as: UTF8.self)
    }

    func optionalNumbers(_ column: Int32) -> [Int]? {
        optionalText(column)?.split(separator: ",").compactMap { Int($0) }
    }
}

extension DatabaseError {
    /// SQLite's own name of the code.
    var name: String {
        if let name = DatabaseError.failures[code] ?? DatabaseError.names[code & 0xFF] { return name }
        return "SQLITE_\(code)"
    }

    /// Kinds of SQLITE_IOERR that are worth to be told apart.
    private static let failures: [Int32: String] = [
        SQLITE_IOERR | (1 << 8): "SQLITE_IOERR_READ", SQLITE_IOERR | (3 << 8): "SQLITE_IOERR_WRITE",
        failedFlush: "SQLITE_IOERR_FSYNC", SQLITE_IOERR | (5 << 8): "SQLITE_IOERR_DIR_FSYNC",
    ]

    private static let names: [Int32: String] = [
        SQLITE_ERROR: "SQLITE_ERROR", SQLITE_PERM: "SQLITE_PERM", SQLITE_BUSY: "SQLITE_BUSY",
        SQLITE_LOCKED: "SQLITE_LOCKED", SQLITE_NOMEM: "SQLITE_NOMEM", SQLITE_READONLY: "SQLITE_READONLY",
        SQLITE_IOERR: "SQLITE_IOERR", SQLITE_CORRUPT: "SQLITE_CORRUPT", SQLITE_FULL: "SQLITE_FULL",
        SQLITE_CANTOPEN: "SQLITE_CANTOPEN", SQLITE_TOOBIG: "SQLITE_TOOBIG", SQLITE_CONSTRAINT: "SQLITE_CONSTRAINT",
        SQLITE_NOTADB: "SQLITE_NOTADB",
    ]
}
