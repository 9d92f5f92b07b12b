// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// One look of a receiver at the shards of its pool: whom it asks, in what order, for how many messages, and when it ends.
//
// Shards are asked in waves. Those of a wave are asked side by side and share what is left of the limit, so that together
// they never bring more. A wave ends when all of it has answered, or when the patience is over; what comes later is for
// the next receiver, unless this one is still there and has room for it.
//
// - Shards near by answer within the call nearly always: waves of one, until one was overdue; then 2, 4, ...
// - Shards far away, and a receiver that waits: one look, which with a backlog is all that is needed. Then all shards are
//   told that somebody waits: they share long polls, and keep what these bring.
// - Shards far away, and a receiver that does not wait: waves of 1, 2, 4, ...

/// Decides whom a receiver asks next. Pure: answers in, questions out.
public struct LookRound: Sendable {
    public enum Kind: Hashable, Sendable {
        /// Shards that answer at once unless they must read a disk.
        case near
        /// A woken look at shards near by: unless the first has something, the others are not asked.
        case nearWoken
        /// Shards far away, for somebody who waits so many seconds: one look, then their long polls.
        case farFirst(seconds: Int)
        /// Shards far away, for somebody who goes on waiting.
        case farWaiting(seconds: Int)
        /// What shards far away have at hand.
        case farLast
        /// Shards far away, for somebody who does not wait.
        case farNow
    }

    /// A question to one shard.
    public struct Ask: Hashable, Sendable {
        /// The place of the shard in this look's order.
        public let turn: Int
        public let limit: Int
        public let patience: ReceiveCommand.Patience
        fileprivate let wave: Int
        fileprivate let pass: Int
    }

    public enum Outcome: Hashable, Sendable {
        case found
        case nothing
        /// Every shard failed.
        case failed
    }

    public enum Step: Hashable, Sendable {
        case ask(Ask)
        /// Nothing to do until an answer comes or the patience with this wave is over.
        case wait(wave: Int)
        case end(Outcome)
    }

    private let count: Int
    private let limit: Int
    private let kind: Kind
    /// Whether it ends without any shard's answer: somebody who waits is woken by what comes late.
    private let endsUnanswered: Bool
    /// The looks of `farFirst`, then its long polls.
    private var pass = 0
    private var turn = 0
    private var wave = 0
    private var waveSize = 1
    /// Shards that the wave may still ask.
    private var waveLeft: Int
    /// Those of the wave that have not answered, and what they may bring.
    private var out: [Int] = []
    private var outLimit = 0
    private var found = 0
    private var answers = 0
    private var failures = 0
    private var wasOverdue = false
    /// The patience is over, but nobody has answered yet.
    private var isHolding = false
    /// An overdue shard answered after all: the receiver has waited long enough.
    private var hasLate = false
    private var isEnded = false

    /// - Parameter count: shards that may be asked.
    public init(count: Int, limit: Int, kind: Kind, endsUnanswered: Bool) {
        self.count = count
        self.limit = limit
        self.kind = kind
        self.endsUnanswered = endsUnanswered
        switch kind {
        case .near, .nearWoken, .farFirst, .farNow: waveLeft = 1
        case .farWaiting, .farLast: waveLeft = count
        }
    }

    /// What to do now.
    public mutating func next() -> Step {
        while !isEnded, !hasLate, found < limit {
            let left = limit - found - outLimit
            if waveLeft > 0, turn < count, left > 0 { return .ask(ask(left)) }
            if !out.isEmpty {
                if isHolding, answers > 0 { break }
                return .wait(wave: wave)
            }
            if !startWave() { break }
        }
        isEnded = true
        return .end(found > 0 ? .found : count > 0 && failures >= count ? .failed : .nothing)
    }

    private mutating func ask(_ left: Int) -> Ask {
        let patience = self.patience
        let sharing = patience == .look ? min(waveLeft, count - turn) : 1
        let ask = Ask(turn: turn, limit: max(1, left / sharing), patience: patience, wave: wave, pass: pass)
        out.append(turn)
        outLimit += ask.limit
        turn += 1
        waveLeft -= 1
        return ask
    }

    private var patience: ReceiveCommand.Patience {
        switch kind {
        case .near, .nearWoken, .farNow: .look
        case .farFirst where pass == 0: .look
        // A receiver that has something is answered; nobody is asked for more on its account.
        case .farFirst(let seconds), .farWaiting(let seconds): found > 0 ? .atHand : .wait(seconds: seconds)
        case .farLast: .atHand
        }
    }

    /// The next wave, if there is one.
    private mutating func startWave() -> Bool {
        if case .farFirst = kind, pass == 0 {
            guard found == 0 else { return false }
            pass = 1
            turn = 0
            failures = 0
            waveLeft = count
        } else {
            guard turn < count else { return false }
            if kind == .nearWoken, found == 0 { return false }
            if kind == .farNow || wasOverdue { waveSize *= 2 }
            waveLeft = waveSize
        }
        wave += 1
        return true
    }

    /// A shard answered; one that is overdue may still be in time for a receiver that has not ended.
    /// - Returns: whether the messages are this receiver's; if not, they are for the next one of that shard.
    public mutating func answered(_ ask: Ask, count: Int, isFailure: Bool) -> Bool {
        guard !isEnded else { return false }
        if ask.wave == wave, let place = out.firstIndex(of: ask.turn) {
            out.remove(at: place)
            outLimit -= ask.limit
        } else if count > 0 {
            guard count <= limit - found, !hasLate else { return false }
            hasLate = true
            // Those that are out would bring too much now.
            wave += 1
        }
        found += count
        answers += 1
        if isFailure, ask.pass == pass { failures += 1 }
        return true
    }

    /// The shard is passed over; another may take its place in the wave.
    public mutating func passedOver(_ ask: Ask, isFailure: Bool) {
        if let place = out.firstIndex(of: ask.turn) { out.remove(at: place) }
        outLimit -= ask.limit
        // Nobody takes the place of a woken shard: the others have wake-ups of their own.
        if kind != .nearWoken || found > 0 { waveLeft += 1 }
        if isFailure { failures += 1 }
    }

    /// The patience with a wave is over.
    /// - Returns: the turns of those that are overdue.
    public mutating func patienceIsOver(wave: Int) -> [Int] {
        guard wave == self.wave, !isEnded, !out.isEmpty, !isHolding else { return [] }
        let overdue = out
        wasOverdue = true
        if !endsUnanswered, answers == 0, turn == count {
            isHolding = true
        } else {
            out = []
            outLimit = 0
            waveLeft = 0
            // From here on, answers of this wave are late.
            self.wave += 1
        }
        return overdue
    }
}
