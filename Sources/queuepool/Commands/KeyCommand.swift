// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolCore

/// `queuepool key`
struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Create, list, limit, rotate and revoke the keys by which callers come in.",
        discussion: """
            Example:
              queuepool key create mail-api --allow 'emails.fifo:send,receive'
              queuepool key list
              queuepool key limit mail-api --rate 100
              queuepool key rotate mail-api --grace 24h
              queuepool key revoke mail-api
            Keys are in the control store, which is written directly: beside a running server and before its first start. \
            Servers follow it.
            """,
        subcommands: [Create.self, List.self, Limit.self, Rotate.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Create a key and print its texts, once.",
            discussion: """
                Example:
                  queuepool key create mail-api --allow 'emails.fifo:send,receive' --expires 90d
                  queuepool key create partner --allow 'emails.fifo:send' --rate 100 --bytes-rate 1MB --connections 10
                  queuepool key create operator --allow '*:admin' --allow '*:metrics' --control dynamodb:queuepool
                Prints {"id","secret","token"}: id and secret are an access key of AWS's tools, the token is for
                'Authorization: Bearer'. They are not shown again.
                Actions are send, receive, admin and metrics; none brings another. A rule for a pool covers its shards \
                and its dead-letter queue; * is every pool, and what belongs to none.
                """)
        @Argument(help: "A name of its own, by which it is rotated and revoked.", transform: keyName) var name: String
        @Option(
            help: ArgumentHelp("What it may do, such as emails.fifo:send,receive; repeatable.", valueName: "rule"),
            transform: accessRule)
        var allow: [AccessRule] = []
        @Option(
            help: ArgumentHelp("How long its secret is accepted, such as 90d; for ever unless set.", valueName: "time"),
            transform: { try keyTime($0, 1...KeyTime.longest) })
        var expires: KeyTime?
        @Option(
            help: ArgumentHelp(
                "Requests that each server takes from it in a second, such as 100.", valueName: "requests"),
            transform: keyLimit)
        var rate: Int?
        @Option(
            help: ArgumentHelp(
                "Bytes of requests and answers in a second at each server, such as 1MB.", valueName: "bytes"),
            transform: keyByteLimit)
        var bytesRate: Int?
        @Option(
            help: ArgumentHelp("Connections at one time to each server, such as 10.", valueName: "connections"),
            transform: keyLimit)
        var connections: Int?
        @OptionGroup(title: "Control store") var control: KeyStoreOptions

        func validate() throws {
            if allow.isEmpty { throw ValidationError("--allow: not given; allowed: \(AccessRule.allowed)") }
        }

        func run() async throws {
            let (name, rights, lifetime) = (name, AccessRights(rules: allow), expires?.milliseconds)
            let limits = CallerLimits(requestsPerSecond: rate, bytesPerSecond: bytesRate, connections: connections)
            try await control.use(
                makesStore: true, audited: ("createKey", { (made: KeyTexts) in made.id })
            ) { store, now throws(KeyFailure) in
                let (made, tokenHash) = try newCredentials()
                guard let id = AccessKey.makeID(random: randomBytes(AccessKey.idRandomBytes)) else { throw .noRandom }
                let key = AccessKey(
                    new: id, name: name, rights: rights, limits: limits, credentials: made, tokenHash: tokenHash,
                    lifetime: lifetime, now: now)
                do throws(AccessKeyStoreError) { _ = try store.create(key) } catch {
                    throw error == .taken ? .nameTaken(name) : .store(error)
                }
                return KeyTexts(id: id, secret: made.secret, token: made.token)
            }.print()
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List all keys, without their secrets.", discussion: "Example:\n  queuepool key list --json")
        @Flag(help: "Print JSON.") var json = false
        @OptionGroup(title: "Control store") var control: KeyStoreOptions

        func run() async throws {
            let found = try await control.use { store, now throws(KeyFailure) in
                do throws(AccessKeyStoreError) { return (try store.contents(), now) } catch { throw .store(error) }
            }
            let list = KeyList(found.0, now: found.1)
            try printOut(json ? list.json() : list.table)
            for id in found.0.unreadable {
                writeToStandardError("queuepool: what is stored of the key \(id) cannot be read; it is refused\n")
            }
        }
    }

    struct Limit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change how much a key may use of each server.",
            discussion: """
                Example:
                  queuepool key limit partner --rate 200 --bytes-rate none
                Limits that are not named stay as they are; none lifts one. Servers follow within a second. Each server \
                counts for itself.
                """)
        @Argument(help: "The key's name or id.") var key: String
        @Option(
            help: ArgumentHelp("Requests in a second, such as 100, or none.", valueName: "requests"),
            transform: { try KeyLimit($0, keyLimit) })
        var rate: KeyLimit?
        @Option(
            help: ArgumentHelp(
                "Bytes of requests and answers in a second, such as 1MB, or none.", valueName: "bytes"),
            transform: { try KeyLimit($0, keyByteLimit) })
        var bytesRate: KeyLimit?
        @Option(
            help: ArgumentHelp("Connections at one time, such as 10, or none.", valueName: "connections"),
            transform: { try KeyLimit($0, keyLimit) })
        var connections: KeyLimit?
        @OptionGroup(title: "Control store") var control: KeyStoreOptions

        func validate() throws {
            if rate == nil, bytesRate == nil, connections == nil {
                throw ValidationError("give at least one of --rate, --bytes-rate and --connections")
            }
        }

        func run() async throws {
            let (text, rate, bytesRate, connections) = (key, rate, bytesRate, connections)
            let key = try await control.use(audited: ("limitKey", { (key: AccessKey) in key.id })) {
                store, _ throws(KeyFailure) in
                try change(text, in: store) { key throws(KeyFailure) in
                    guard key.revokedAt == nil else { throw .revoked(text) }
                    let before = key.limits
                    key.limits = CallerLimits(
                        requestsPerSecond: KeyLimit.number(rate, else: before.requestsPerSecond),
                        bytesPerSecond: KeyLimit.number(bytesRate, else: before.bytesPerSecond),
                        connections: KeyLimit.number(connections, else: before.connections))
                }
            }
            try printOut("limits of \(key.id): \(KeyList.text(KeyList.Limits(key.limits)) ?? "none")\n")
        }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Give a key a new secret and print it, once.",
            discussion: """
                Example:
                  queuepool key rotate mail-api --grace 24h
                The secret before is accepted for the grace, so that callers can change over; an earlier one no longer.
                """)
        @Argument(help: "The key's name or id.") var key: String
        @Option(
            help: ArgumentHelp("How long the secret before is accepted; default: 24h.", valueName: "time"),
            transform: { try keyTime($0, 0...KeyTime.longest) })
        var grace: KeyTime?
        @Option(
            help: ArgumentHelp(
                "How long the new secret is accepted; unless set, as long as the one before was.", valueName: "time"),
            transform: { try keyTime($0, 1...KeyTime.longest) })
        var expires: KeyTime?
        @OptionGroup(title: "Control store") var control: KeyStoreOptions

        func run() async throws {
            let (text, expires) = (key, expires?.milliseconds)
            let grace = grace?.milliseconds ?? AccessKey.graceMilliseconds
            try await control.use(
                audited: ("rotateKey", { (made: KeyTexts) in made.id })
            ) { store, now throws(KeyFailure) in
                let (made, tokenHash) = try newCredentials()
                let key = try change(text, in: store) { key throws(KeyFailure) in
                    do throws(AccessKeyRefusal) {
                        try key.rotate(
                            to: made, tokenHash: tokenHash, grace: grace, lifetime: expires ?? key.lifetime, now: now)
                    } catch { throw .revoked(text) }
                }
                return KeyTexts(id: key.id, secret: made.secret, token: made.token)
            }.print()
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a key for good.",
            discussion: """
                Example:
                  queuepool key revoke mail-api
                Servers refuse it within a second. Its name stays taken, so that it never means another key.
                """)
        @Argument(help: "The key's name or id.") var key: String
        @OptionGroup(title: "Control store") var control: KeyStoreOptions

        func run() async throws {
            let text = key
            let id = try await control.use(audited: ("revokeKey", { (id: String) in id })) {
                store, now throws(KeyFailure) in
                try change(text, in: store) { key throws(KeyFailure) in key.revoke(now: now) }.id
            }
            try printOut("revoked \(id)\n")
        }
    }
}

private func keyName(_ text: String) throws -> String {
    guard AccessKey.isName(text) else {
        throw ValidationError("'\(text)' is not a key's name; allowed: \(AccessKey.allowedName)")
    }
    return text
}

private func accessRule(_ text: String) throws -> AccessRule {
    do throws(AccessRuleError) { return try AccessRule(parsing: text) } catch {
        throw ValidationError("--allow: \(error)")
    }
}
