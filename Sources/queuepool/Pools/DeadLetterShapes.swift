// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings

/// A row of `GET /v1/pools/{pool}/dead-letters`, or one of them with more of it.
struct DeadLetter: Decodable, Hashable, Sendable {
    struct Attribute: Decodable, Hashable, Sendable {
        var name: String
        var type: String
        var sizeBytes: Int
        var value: String?
    }

    var id: String
    var group: String
    var shard: String
    var deadAt: String
    var reason: String?
    var errorClass: String?
    var pool: String?
    var originalId: String?
    var attempts: Int?
    var sizeBytes: Int
    var inFlight: Bool
    var attributes: [Attribute]?
    var body: String?

    /// Lines of names and values; the body, if it is there, as it is after an empty line.
    var text: String {
        var rows = [
            ("id", id), ("group", group), ("shard", shard), ("dead at", deadAt), ("reason", reason ?? "-"),
            ("error class", errorClass ?? "-"), ("attempts", attempts.map(String.init) ?? "-"), ("pool", pool ?? "-"),
            ("original id", originalId ?? "-"), ("size", "\(sizeBytes)"), ("in flight", inFlight ? "yes" : "no"),
        ]
        for attribute in attributes ?? [] {
            rows.append(
                (
                    "attribute",
                    "\(attribute.name) (\(attribute.type), \(attribute.sizeBytes) bytes)"
                        + (attribute.value.map { " \($0)" } ?? "")
                ))
        }
        let lines = rows.map { name, value in
            name + String(repeating: " ", count: max(1, 13 - name.count)) + printable(value) + "\n"
        }
        return lines.joined() + (body.map { "\n\($0)\n" } ?? "")
    }
}

/// The answer of `GET /v1/pools/{pool}/dead-letters`.
struct DeadLetterList: Decodable, Hashable, Sendable {
    var queue: String
    var deadLetters: [DeadLetter]
    /// `nil`: of a server that does not count them.
    var unreadable: Int?
    var next: String?

    /// What comes behind the table.
    var remarks: String {
        let damaged = unreadable ?? 0
        return (damaged > 0 ? "\(damaged) more cannot be read: their bytes on the server's disk are damaged\n" : "")
            + (next.map { "more: --after \($0)\n" } ?? "")
    }
}

/// The body of `POST /v1/pools/{pool}/dead-letters/redrive`.
struct RedriveOrder: Encodable, Hashable, Sendable {
    /// `nil`: all.
    var ids: [String]?
    var ratePerSecond: Int?
}

/// Where a redrive stands.
struct RedriveTask: Decodable, Hashable, Sendable {
    var status: String
    var moved: Int
    var toMove: Int
    var skipped: Int
    /// `nil`: of a server that does not count them.
    var unreadable: Int?
    var failureReason: String?

    /// One line.
    var text: String {
        let damaged = unreadable ?? 0
        return "\(status) moved \(moved) of \(toMove)"
            + (skipped > 0 ? ", \(skipped) not there or held by a receiver" : "")
            + (damaged > 0 ? ", \(damaged) cannot be read" : "")
            + (failureReason.map { ": " + printable($0) } ?? "") + "\n"
    }
}

extension TextTable {
    init(_ list: DeadLetterList) {
        self.init(
            head: ["ID", "GROUP", "DEAD AT", "REASON", "ERROR", "ATTEMPTS", "BYTES"],
            rows: list.deadLetters.map {
                [
                    $0.id, printable($0.group), $0.deadAt, printable($0.reason ?? "-"), printable($0.errorClass ?? "-"),
                    $0.attempts.map(String.init) ?? "-", "\($0.sizeBytes)",
                ]
            })
    }
}

/// Whoever sent a message chose its group and attributes: nothing of them may steer a terminal.
private func printable(_ text: String) -> String { SettingError.printable(text, scalarsMax: 400) }
