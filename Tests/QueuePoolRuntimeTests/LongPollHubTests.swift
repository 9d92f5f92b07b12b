// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

@Suite("Receivers that wait, as the hub lets them look")
struct LongPollHubTests {
    private let clock = ManualClock()
    private let shards = [ShardIndex(0), ShardIndex(1)]

    private func hub() -> LongPollHub { LongPollHub(clock: clock, shards: shards) { _ in nil } }

    @Test func `thirty thousand woken at once by a shard that answers at once`() {
        let hub = self.hub()
        let served = Mutex(0)
        let messages = Mutex(0)
        for _ in 0..<30_000 {
            hub.poll(of: nil, until: clock.now() + 20_000) { _, _ in
                let isFound = messages.withLock { left in
                    guard left > 0 else { return false }
                    left -= 1
                    return true
                }
                if isFound { served.withLock { $0 += 1 } }
                return isFound ? .served : .unserved()
            }
        }
        #expect(hub.waiterCount == 30_000)
        messages.withLock { $0 = 30_000 }
        hub.wake(shards[0])
        #expect(served.withLock { $0 } == 30_000)
        #expect(hub.waiterCount == 0)
    }

    @Test func `thirty thousand whose time has come answer at once`() {
        let hub = self.hub()
        let answered = Mutex(0)
        for _ in 0..<30_000 {
            hub.poll(of: nil, until: clock.now() + 20_000) { look, _ in
                if look.isLast { answered.withLock { $0 += 1 } }
                return .unserved()
            }
        }
        clock.advance(milliseconds: 20_000)
        #expect(answered.withLock { $0 } == 30_000)
        #expect(hub.waiterCount == 0)
    }

    @Test func `a shard that never answers holds up those that look at it, and nobody else`() {
        let hub = self.hub()
        let served = Mutex<[Int]>([])
        for number in 0..<4 {
            hub.poll(of: shards[number % 2], until: clock.now() + 20_000) { look, _ in
                if look.isFirst { return .unserved() }
                // The first shard hangs.
                if number % 2 == 0 { return nil }
                served.withLock { $0.append(number) }
                return .served
            }
        }
        hub.wake(shards[0])
        hub.wake(shards[1])
        #expect(served.withLock { $0 } == [1, 3])
    }

    @Test func `one that is out looking when the hub closes answers when its look comes back`() {
        let hub = self.hub()
        let looks = Mutex<[(isLast: Bool, done: @Sendable (LongPollHub.LookEnd) -> Void)]>([])
        hub.poll(of: nil, until: clock.now() + 20_000) { look, done in
            if look.isFirst { return .unserved() }
            looks.withLock { $0.append((look.isLast, done)) }
            return nil
        }
        hub.wake(shards[0])
        hub.close()
        looks.withLock { $0 }[0].done(.unserved())
        #expect(looks.withLock { $0.map(\.isLast) } == [false, true])
        #expect(hub.waiterCount == 0)
    }

    @Test func `a receiver whose client leaves is forgotten at once, also during its first look`() {
        let hub = self.hub()
        let gone = Mutex(false)
        let looks = Mutex<[@Sendable (LongPollHub.LookEnd) -> Void]>([])
        let answers = Mutex(0)
        let last = Mutex(0)
        let attempt: LongPollHub.Attempt = { look, done in
            if look.isFirst {
                looks.withLock { $0.append(done) }
                return nil
            }
            if look.isLast { last.withLock { $0 += 1 } }
            answers.withLock { $0 += 1 }
            return .served
        }
        let waits = hub.poll(of: nil, until: clock.now() + 20_000, attempt)
        looks.withLock { $0 }[0](.unserved())
        #expect(hub.waiterCount == 1)
        hub.abandoned(waits)
        #expect(hub.waiterCount == 0)
        let looking = hub.poll(of: nil, until: clock.now() + 20_000, isAbandoned: { gone.withLock { $0 } }, attempt)
        gone.withLock { $0 = true }
        hub.abandoned(looking)
        looks.withLock { $0 }[1](.unserved())
        #expect(hub.waiterCount == 0)
        #expect(last.withLock { $0 } == 2)
    }
}
