// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `Rights of a key` {
    private let emails: PoolName
    private let orders: PoolName

    init() throws {
        emails = try #require(PoolName("emails.fifo"))
        orders = try #require(PoolName("orders.fifo"))
    }

    private static let single: [AccessActions] = [.send, .receive, .admin, .metrics]

    private func rights(_ rules: String...) throws -> AccessRights {
        AccessRights(rules: try rules.map { try AccessRule(parsing: $0) })
    }

    @Test(arguments: single) func `without a rule nothing is allowed`(action: AccessActions) {
        let none = AccessRights()
        #expect(!none.allows(action, pool: emails))
        #expect(!none.allowsAnywhere(action))
        #expect(!none.allowsEverywhere(action))
    }

    @Test(arguments: single, single) func `a rule allows its action on its pool and nothing else`(
        granted: AccessActions, asked: AccessActions
    ) {
        let rights = AccessRights(rules: [AccessRule(pool: .pool(emails), actions: granted)])
        #expect(rights.allows(asked, pool: emails) == (granted == asked))
        #expect(rights.allowsAnywhere(asked) == (granted == asked))
        #expect(!rights.allows(asked, pool: orders))
        #expect(!rights.allowsEverywhere(asked))
    }

    @Test(arguments: single, single) func `a rule for every pool allows its action everywhere and no other`(
        granted: AccessActions, asked: AccessActions
    ) {
        let rights = AccessRights(rules: [AccessRule(pool: .every, actions: granted)])
        for pool in [emails, orders] { #expect(rights.allows(asked, pool: pool) == (granted == asked)) }
        #expect(rights.allowsAnywhere(asked) == (granted == asked))
        #expect(rights.allowsEverywhere(asked) == (granted == asked))
    }

    @Test func `several rules add up on the pool that they share`() throws {
        let rights = try rights("emails.fifo:send", "orders.fifo:receive", "*:metrics", "emails.fifo:receive")
        #expect(rights.allows([.send, .receive, .metrics], pool: emails))
        #expect(!rights.allows([.send, .receive], pool: orders))
        #expect(rights.allows([.receive, .metrics], pool: orders))
        #expect(!rights.allows([.send, .admin], pool: emails))
        #expect(rights.allowsAnywhere([.send, .receive, .metrics]))
        #expect(!rights.allowsAnywhere(.admin))
    }

    @Test func `actions of different pools do not add up`() throws {
        #expect(try !rights("emails.fifo:send", "orders.fifo:receive").allowsAnywhere([.send, .receive]))
    }

    @Test func `no action is not allowed, whatever the rights`() throws {
        let rights = try rights("*:send,receive,admin,metrics")
        #expect(!rights.allows([], pool: emails))
        #expect(!rights.allowsAnywhere([]))
        #expect(!rights.allowsEverywhere([]))
    }

    @Test func `a pool is not its neighbour whose name begins alike`() throws {
        let rights = try rights("emails.fifo:send")
        for text in ["emails-2.fifo", "email.fifo", "emails-0000.fifo", "Emails.fifo"] {
            #expect(!rights.allows(.send, pool: try #require(PoolName(text))), "\(text)")
        }
    }

    @Test(arguments: [
        "emails.fifo:send", "emails.fifo:send,receive", "*:admin", "a-b_C.fifo:send,receive,admin,metrics",
    ])
    func `a rule survives its text`(text: String) throws {
        let rule = try AccessRule(parsing: text)
        #expect(rule.text == text)
        #expect(try AccessRule(parsing: rule.text) == rule)
        #expect(!rule.actions.isEmpty)
    }

    @Test func `words may come in any order`() throws {
        #expect(try AccessRule(parsing: "*:metrics,send").text == "*:send,metrics")
    }

    @Test(arguments: [
        ("", "has no ':'"), ("emails.fifo", "has no ':'"), ("emails.fifo:", "an empty action"),
        ("emails.fifo:send,", "an empty action"), ("emails.fifo:,send", "an empty action"),
        ("emails.fifo:Send", "unknown action 'Send'"), ("emails.fifo:send, receive", "unknown action ' receive'"),
        ("emails.fifo:delete", "unknown action 'delete'"), ("emails.fifo:send,send", "'send' twice"),
        ("emails:send", "'emails' is neither"), (":send", "'' is neither"), ("**:send", "'**' is neither"),
        ("emails*:send", "'emails*' is neither"), ("emails.fifo:send:receive", "unknown action 'send:receive'"),
    ])
    func `what is no rule is refused and named`(text: String, why: String) {
        let error = #expect(throws: AccessRuleError.self) { try AccessRule(parsing: text) }
        let said = error?.description ?? ""
        #expect(said.contains("'\(text)'") && said.contains(why) && said.contains("allowed: POOL:ACTIONS"), "\(said)")
    }

    @Test func `rights survive their text, and are not read in part`() throws {
        let all = try rights("emails.fifo:send,receive", "*:admin")
        #expect(AccessRights(text: all.text) == all)
        #expect(AccessRights(text: "") == AccessRights())
        #expect(AccessRights(text: all.text + " orders.fifo:everything") == nil)
    }

    @Test(arguments: SplitMix64.seeds(20)) func `random bytes never give more than a rule that reads back`(
        seed: UInt64
    ) {
        var random = SplitMix64(seed: seed)
        let letters = Array("*:,. aemilsfondrvctk".utf8)
        for _ in 0..<500 {
            let bytes = (0..<random.below(24)).map { _ in letters[random.below(letters.count)] }
            let text = String(decoding: bytes, as: UTF8.self)
            guard let rule = try? AccessRule(parsing: text) else { continue }
            #expect((try? AccessRule(parsing: rule.text)) == rule, "seed \(seed)")
        }
    }
}
