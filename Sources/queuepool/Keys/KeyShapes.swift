// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolCore

// What the subcommands of `key` read and print.

/// A span of time on the command line: `90d`, `12h`, `30m`, `45s`.
struct KeyTime: Hashable, Sendable {
    /// A hundred years, in seconds.
    static let longest: Int64 = 36_500 * 86_400

    let seconds: Int64
    var milliseconds: Int64 { seconds * 1_000 }

    /// - Returns: `nil` unless it is digits and a unit, and not longer than the longest.
    init?(_ text: String) {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]
        let digits = text.dropLast()
        guard let unit = text.last.flatMap({ units[$0] }), !digits.isEmpty,
            digits.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int64(digits),
            number <= KeyTime.longest / unit
        else { return nil }
        seconds = number * unit
    }
}

/// Reads a limit of a key.
func keyLimit(_ text: String) throws -> Int {
    let allowed = CallerLimits.allowed
    guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text), allowed.contains(number) else {
        throw ValidationError(
            "'\(text)' is not allowed; allowed: \(allowed.lowerBound)...\(allowed.upperBound)")
    }
    return number
}

/// Reads a limit of bytes.
func keyByteLimit(_ text: String) throws -> Int {
    guard let number = ByteCount.parse(text) else {
        throw ValidationError("'\(text)' is not allowed; allowed: \(ByteCount.allowed)")
    }
    return number
}

/// A limit of a key on the command line, or none.
struct KeyLimit: Hashable, Sendable {
    /// `nil`: none.
    private let number: Int?

    init(_ text: String, _ read: (String) throws -> Int) throws { number = text == "none" ? nil : try read(text) }

    /// - Parameter before: what it is if nothing is said.
    static func number(_ said: KeyLimit?, else before: Int?) -> Int? { said.map(\.number) ?? before }
}

/// Reads a span of time that is allowed, in seconds.
func keyTime(_ text: String, _ allowed: ClosedRange<Int64>) throws -> KeyTime {
    guard let time = KeyTime(text), allowed.contains(time.seconds) else {
        throw ValidationError(
            "'\(text)' is not allowed; allowed: \(allowed.lowerBound)s...\(allowed.upperBound / 86_400)d, such as 90d, "
                + "12h, 30m or 45s")
    }
    return time
}

/// What is shown of a new secret, once.
struct KeyTexts: Encodable, Sendable {
    let id: String
    let secret: String
    let token: String

    /// Prints one line of JSON.
    func print() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let line = String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
        do { try printOut(line) } catch {
            writeToStandardError(
                "queuepool: the secret of the key \(id) was made and could not be written out; 'queuepool key rotate \(id) "
                    + "--grace 0s' makes another\n")
            throw error
        }
    }
}

/// Writes to standard output, as a whole.
/// - Throws: `ExitCode` if it cannot be written.
func printOut(_ text: String) throws {
    do { try FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) } catch {
        writeToStandardError("queuepool: standard output cannot be written\n")
        throw ExitCode(ExitStatus.inputOutput)
    }
}

/// All keys as they are shown: never their secrets.
struct KeyList: Encodable {
    struct Secret: Encodable {
        let version: Int
        let createdAt: String
        let expiresAt: String?
    }

    /// Those that there are none of are left out.
    struct Limits: Encodable {
        let rate: Int?
        let bytesRate: Int?
        let connections: Int?

        init(_ limits: CallerLimits) {
            rate = limits.requestsPerSecond
            bytesRate = limits.bytesPerSecond
            connections = limits.connections
        }
    }

    struct Key: Encodable {
        let id: String
        let name: String
        let allow: [String]
        let limits: Limits
        let state: String
        let createdAt: String
        let revokedAt: String?
        let lastUsedAt: String?
        /// Those that are accepted, the newest first.
        let secrets: [Secret]
    }

    let keys: [Key]

    init(_ stored: StoredAccessKeys, now: Timestamp) {
        keys = stored.keys.map { key in
            Key(
                id: key.id, name: key.name, allow: key.rights.rules.map(\.text), limits: Limits(key.limits),
                state: key.standing(at: now).rawValue, createdAt: KeyList.text(key.createdAt),
                revokedAt: key.revokedAt.map(KeyList.text), lastUsedAt: key.lastUsedAt.map(KeyList.text),
                secrets: key.liveSecrets(at: now).map {
                    Secret(
                        version: $0.version, createdAt: KeyList.text($0.createdAt),
                        expiresAt: $0.expiresAt.map(KeyList.text))
                })
        }
    }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }

    var table: String {
        TextTable(
            head: ["NAME", "ID", "STATE", "SECRETS", "EXPIRES", "LAST USED", "LIMITS", "ALLOWED"],
            rows: keys.map { key in
                [
                    key.name, key.id, key.state, "\(key.secrets.count)", key.secrets.first?.expiresAt ?? "-",
                    key.lastUsedAt ?? "-", KeyList.text(key.limits) ?? "-", key.allow.joined(separator: " "),
                ]
            }
        ).text
    }

    /// - Returns: `nil` if there are none.
    static func text(_ limits: Limits) -> String? {
        let parts = [
            limits.rate.map { "\($0)/s" }, limits.bytesRate.map { "\($0) B/s" },
            limits.connections.map { "\($0) connections" },
        ].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: ", ")
    }

    private static func text(_ time: Timestamp) -> String {
        Date(timeIntervalSince1970: Double(time.milliseconds) / 1_000).formatted(.iso8601)
    }
}
