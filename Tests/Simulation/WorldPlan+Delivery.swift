// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport

/// What goes on at the workers' end of a world. Drawn from a generator of its own, so that the rest of a seed's world is
/// the same without it.
struct DeliveryPlan: Sendable, CustomStringConvertible {
    /// Percent of the deliveries that last longer than a visibility timeout, faults or not.
    let slowPart: Int
    /// Percent of the deletes before which a worker stands still for longer than a visibility timeout.
    let pausesBeforeDelete: Int
    /// Percent of the deletes that arrive twice at the same moment.
    let twinDeletes: Int
    /// Percent of the messages given out again of which somebody uses a former handle.
    let lateDeletes: Int
    /// How far a server's clock jumps at most when the server starts again.
    let jumpMilliseconds: Int64
    /// Of so many messages each target refuses one; 0: none.
    let poisonEvery: Int
    /// It refuses it for good, instead of for now.
    let isPoisonPermanent: Bool
    /// Percent of the messages that the dead-letter queue refuses, or stores without telling, until faults stop.
    let deadLetterFailures: Int
    /// After the faults it takes nothing as long as one of a group of which none is given up is open: others must go on (I5).
    let holdsDeadLetters: Bool
    let faults: [Fault]

    init(seed: UInt64, visibilitySeconds: Int) {
        var random = SplitMix64(seed: seed ^ 0xDE11_7E12)
        slowPart = random.chance(30) ? 4 + random.below(6) : 0
        pausesBeforeDelete = random.chance(30) ? 3 + random.below(8) : 0
        twinDeletes = random.chance(30) ? 30 : 0
        lateDeletes = random.chance(50) ? 50 : 0
        jumpMilliseconds = random.chance(30) ? 600_000 : 0
        poisonEvery = random.chance(40) ? 10 + random.below(30) : 0
        isPoisonPermanent = random.chance(40)
        deadLetterFailures = random.chance(50) ? 10 + random.below(70) : 0
        holdsDeadLetters = random.chance(50)
        let kinds: [Fault.Kind] = [.workerStops, .workerStops, .workerPauses, .targetHangs, .targetIsDown]
        faults = (0..<(random.chance(40) ? 1 + random.below(4) : 0)).map { _ in
            Fault(
                kind: kinds[random.below(kinds.count)], at: Int64(random.below(10_000)),
                length: Int64(random.below(3_000 * visibilitySeconds)), subject: random.below(1_000),
                strength: 1 + random.below(100))
        }
    }

    func isPoison(_ message: Int) -> Bool { poisonEvery > 0 && message % poisonEvery == poisonEvery / 2 }

    var description: String {
        """
        slow deliveries \(slowPart)%, pauses before deletes \(pausesBeforeDelete)%, twin deletes \(twinDeletes)%, \
        late deletes \(lateDeletes)%, jumps \(jumpMilliseconds), \
        \(isPoisonPermanent ? "refused for good" : "refused") one of \(poisonEvery), \
        dead-letter failures \(deadLetterFailures)%\(holdsDeadLetters ? ", dead letters held" : "")
        """
    }
}
