// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a key may do. Nothing is allowed that no rule says: a key without rules may do nothing, and `admin` brings neither
// `send` nor `receive`. A rule names a pool, and covers the queues that are named from it; which pool a queue belongs to
// is decided by who asks.

/// What somebody does to a pool.
public struct AccessActions: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Put messages in.
    public static let send = AccessActions(rawValue: 1)
    /// Take messages out, extend and delete them.
    public static let receive = AccessActions(rawValue: 2)
    /// Make, change, look into, purge and delete.
    public static let admin = AccessActions(rawValue: 4)
    /// Read figures.
    public static let metrics = AccessActions(rawValue: 8)

    /// The words of the command line, in the order in which they are written.
    public static let words: [(word: String, action: AccessActions)] = [
        ("send", .send), ("receive", .receive), ("admin", .admin), ("metrics", .metrics),
    ]

    /// `send,receive`
    public var text: String {
        AccessActions.words.filter { contains($0.action) }.map(\.word).joined(separator: ",")
    }
}

extension AccessActions: CustomStringConvertible {
    public var description: String { text }
}

/// Which pools a rule is for.
public enum PoolPattern: Hashable, Sendable, CustomStringConvertible {
    /// Every pool, those that are made later among them, and what belongs to no pool.
    case every
    case pool(PoolName)

    /// - Returns: `nil` unless `text` is `*` or a pool's name.
    public init?(_ text: String) {
        if text == "*" {
            self = .every
        } else if let name = PoolName(text) {
            self = .pool(name)
        } else {
            return nil
        }
    }

    /// Whether it is for this pool.
    public func covers(_ pool: PoolName) -> Bool {
        switch self {
        case .every: true
        case .pool(let name): name == pool
        }
    }

    public var description: String {
        switch self {
        case .every: "*"
        case .pool(let name): name.text
        }
    }
}

/// Why a text is no rule. Says what is wrong with it and what is allowed.
public struct AccessRuleError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
}

/// One thing that is allowed: `emails.fifo:send,receive`.
public struct AccessRule: Hashable, Sendable, CustomStringConvertible {
    public var pool: PoolPattern
    public var actions: AccessActions

    public init(pool: PoolPattern, actions: AccessActions) {
        self.pool = pool
        self.actions = actions
    }

    /// What a rule looks like, for messages.
    public static let allowed =
        "POOL:ACTIONS, POOL a pool's name such as emails.fifo or *, ACTIONS one or more of "
        + AccessActions.words.map(\.word).joined(separator: ", ") + " with commas between them"

    /// Reads `emails.fifo:send,receive`.
    /// - Throws: `AccessRuleError` that says what is wrong.
    public init(parsing text: String) throws(AccessRuleError) {
        func refuse(_ why: String) -> AccessRuleError {
            AccessRuleError(description: "'\(text)' \(why); allowed: \(AccessRule.allowed)")
        }
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { throw refuse("has no ':'") }
        guard let pool = PoolPattern(String(parts[0])) else {
            throw refuse("names no pool: '\(parts[0])' is neither a pool's name nor *")
        }
        var actions: AccessActions = []
        for word in parts[1].split(separator: ",", omittingEmptySubsequences: false) {
            guard !word.isEmpty else { throw refuse("has an empty action") }
            guard let action = AccessActions.words.first(where: { $0.word == word })?.action else {
                throw refuse("has an unknown action '\(word)'")
            }
            guard !actions.contains(action) else { throw refuse("names '\(word)' twice") }
            actions.insert(action)
        }
        self.init(pool: pool, actions: actions)
    }

    /// As `init(parsing:)` reads it.
    public var text: String { "\(pool):\(actions.text)" }
    public var description: String { text }
}

/// Everything that a key may do.
public struct AccessRights: Hashable, Sendable, CustomStringConvertible {
    public var rules: [AccessRule]

    public init(rules: [AccessRule] = []) { self.rules = rules }

    /// Whether all of the actions are allowed on a pool, its shards and its dead-letter queue. No action is not allowed.
    public func allows(_ action: AccessActions, pool: PoolName) -> Bool {
        covers(action, granted { $0.covers(pool) })
    }

    /// Whether there is, or may be, a pool on which all of the actions are allowed.
    public func allowsAnywhere(_ action: AccessActions) -> Bool {
        rules.contains { rule in
            covers(action, granted { $0 == .every || $0 == rule.pool })
        }
    }

    /// Whether all of the actions are allowed on every pool, and so on what belongs to no pool.
    public func allowsEverywhere(_ action: AccessActions) -> Bool {
        covers(action, granted { $0 == .every })
    }

    private func granted(by isMeant: (PoolPattern) -> Bool) -> AccessActions {
        rules.reduce(into: []) { if isMeant($1.pool) { $0.formUnion($1.actions) } }
    }

    private func covers(_ action: AccessActions, _ granted: AccessActions) -> Bool {
        !action.isEmpty && granted.isSuperset(of: action)
    }

    /// Rules with blanks between them, for a store.
    public var text: String { rules.map(\.text).joined(separator: " ") }
    public var description: String { text }

    /// Reads `text`.
    /// - Returns: `nil` if any rule cannot be read: to leave one out would be to give other rights than were written.
    public init?(text: String) {
        var rules: [AccessRule] = []
        for part in text.split(separator: " ") {
            guard let rule = try? AccessRule(parsing: String(part)) else { return nil }
            rules.append(rule)
        }
        self.init(rules: rules)
    }
}
