// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

/// What a connection may take.
package struct DoorLimits: Hashable, Sendable {
    /// Bytes of a request's body, but for NDJSON streams, which are bounded by the line.
    package var requestBytesMax = 2 << 20
    /// Connections at one time.
    package var connectionsMax = 10_000
    /// Connections of one client address at one time.
    package var connectionsOfAddressMax = 10_000
    /// Seconds for a request's head to arrive, and the stretch of time over which its body's rate is judged.
    package var headSeconds = 10
    /// Seconds without a request after which a connection is closed.
    package var idleSeconds = 75
    /// Bytes a second, over each stretch of `headSeconds`, below which a body counts as stalled. An NDJSON stream may
    /// pause for `idleSeconds` instead.
    package var bodyBytesPerSecondMin = 4_096
    /// Bytes of requests that have not arrived whole and of answers that were not read, of all connections together.
    package var heldBytesMax = 256 << 20
    /// Bytes of a request that are read and thrown away after its answer, which came before them.
    package var thrownBytesMax = 64 << 20

    package init() {}

    /// Bytes of a request for bodies of so many: some of them come as base64, and there is more in a request than a body.
    package static func bytes(forBodies limit: Int) -> Int { limit + limit / 3 + (1 << 20) }
}

/// What all connections share.
final class DoorState: Sendable {
    let limits: DoorLimits
    let browsers: BrowserGuard
    let service: any PlainService
    let mailboxes = LoopMailboxes()
    let date = DateLine()
    let connections = Atomic(0)
    let lives = ConnectionLives()
    let counters: RequestCounters
    let addresses = AddressCounts()
    let cuts = ConnectionCounters()
    let budget: ByteBudget
    let handshakes: Handshakes
    let paces = HandshakePaces()

    init(limits: DoorLimits, browsers: BrowserGuard, service: any PlainService, counters: RequestCounters) {
        self.limits = limits
        self.browsers = browsers
        self.service = service
        self.counters = counters
        budget = ByteBudget(limit: limits.heldBytesMax)
        handshakes = Handshakes(limit: limits.handshakesMax)
    }

    /// Why a connection that comes now is not taken.
    func refusal(of channel: any Channel) -> ConnectionCounters.Reason? {
        if connections.load(ordering: .relaxed) >= limits.connectionsMax { return .tooMany }
        let count = channel.remoteAddress?.ipAddress.map { addresses.count(of: $0) } ?? 0
        return count >= limits.connectionsOfAddressMax ? .tooManyOfAddress : nil
    }
}

/// How many connections each client address has.
final class AddressCounts: Sendable {
    private let counts = Mutex<[String: Int]>([:])

    func count(of address: String) -> Int { counts.withLock { $0[address] ?? 0 } }

    func add(_ address: String) { counts.withLock { $0[address, default: 0] += 1 } }

    func remove(_ address: String) {
        counts.withLock { counts in
            guard let count = counts[address] else { return }
            counts[address] = count > 1 ? count - 1 : nil
        }
    }
}

/// A connection as those see it who work for it on other threads.
final class ConnectionLife: Sendable {
    private let closed = Atomic(false)
    private let waiting = Mutex<(@Sendable () -> Void)?>(nil)
    /// Where the connection is counted.
    private let counted = Mutex<CallerAccount?>(nil)

    private let from = Mutex<String?>(nil)

    /// The network address at its other end, as far as it is known.
    var address: String? {
        get { from.withLock { $0 } }
        set { from.withLock { $0 = newValue } }
    }

    private let shown = Mutex<String?>(nil)

    /// The name in its client's verified certificate; `nil` if there is none.
    var certificateName: String? {
        get { shown.withLock { $0 } }
        set { shown.withLock { $0 = newValue } }
    }

    var isClosed: Bool { closed.load(ordering: .acquiring) }

    /// The client is gone: whoever waits on its account is told.
    func close() {
        // First, so that nobody who is told, or who comes now, thinks that it is still there.
        closed.store(true, ordering: .releasing)
        take()?()
        counted.withLock { $0.take() }?.disconnect()
    }

    /// Counts the connection as one of a key's until it closes, or another's request comes on it.
    /// - Returns: whether the key may have it.
    func count(for account: CallerAccount) -> Bool {
        counted.withLock { counted in
            // One that is closed is given back by nobody; whoever closes it now waits for this lock.
            guard counted !== account, !isClosed else { return true }
            guard account.connect() else { return false }
            counted?.disconnect()
            counted = account
            return true
        }
    }

    /// Calls `body` once when the connection closes; at once if it is closed. One request is under way at a time, so there
    /// is room for one: a later one takes its place.
    func onClose(_ body: @escaping @Sendable () -> Void) {
        waiting.withLock { $0 = body }
        if isClosed { take()?() }
    }

    /// The request is answered: nobody waits any more.
    func forget() { _ = take() }

    private func take() -> (@Sendable () -> Void)? {
        waiting.withLock { waiting in
            defer { waiting = nil }
            return waiting
        }
    }
}

/// The lives of all connections, for those who know only the channel.
final class ConnectionLives: Sendable {
    private let lives = Mutex<[ObjectIdentifier: ConnectionLife]>([:])

    func add(_ life: ConnectionLife, of channel: any Channel) {
        lives.withLock { $0[ObjectIdentifier(channel)] = life }
    }

    func remove(_ channel: any Channel) { lives.withLock { $0[ObjectIdentifier(channel)] = nil } }

    func life(of channel: any Channel) -> ConnectionLife? { lives.withLock { $0[ObjectIdentifier(channel)] } }
}

/// A plain request that has arrived whole.
struct PlainRequest {
    let route: PlainRoute
    /// Valid during the call only.
    let body: UnsafeRawBufferPointer
    let trace: [UInt8]?
    let life: ConnectionLife
    /// With its blank line; valid during the call only.
    let head: UnsafeRawBufferPointer
    /// Where in the head the value of Authorization is.
    let authorization: Range<Int>?
}

/// Answers plain requests.
protocol PlainService: Sendable {
    /// How often callers were refused by their limits; `nil`: they have none.
    var refusals: CallerRefusalCounts? { get }
    /// - Parameter reply: called once, on any thread, before or after this returns.
    func handle(_ request: PlainRequest, reply: @escaping Reply)
    /// The answer to a body that is larger than allowed.
    func tooLarge(_ route: PlainRoute, limit: Int) -> Answer
    /// The answer to a body that the process has no room for at the moment.
    func noRoom(_ route: PlainRoute) -> Answer
}

extension PlainService {
    var refusals: CallerRefusalCounts? { nil }
}
