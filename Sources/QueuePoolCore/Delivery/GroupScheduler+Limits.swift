// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Groups that wait because their target takes no more just now. They stand in a line of their target, oldest first, and go
// on at the first event or tick at which it takes one. If the target fails meanwhile they are decided on anew: they go to
// the next target, or wait without one, as all others do.

extension GroupScheduler {
    /// Whether a delivery at a target is to be decided on: begun, or waited for. One that failed is probed within its limits,
    /// and until then it is passed over: nobody waits for a target that may be down.
    func takes(_ target: Int, _ now: Timestamp) -> Bool {
        breakers[target].mayBegin(now: now)
            && (breakers[target].state == .closed || gates[target].limit(now: now) == nil)
    }

    /// The group's first message waits for its target.
    mutating func wait(_ key: GroupKey, for target: Int, _ limit: TargetGate.Limit) {
        gates[target].wait(key, for: limit)
        change(key) { line in
            let isFirst = line.head.nextTarget == 0 && line.head.pinnedTarget == nil
            line.phase = .limited(target: target, isFirst: isFirst)
        }
    }

    /// Begins what waits for targets, as far as they take it.
    mutating func startLimited(_ now: Timestamp, _ effects: inout [Effect]) {
        for target in gates.indices where !gates[target].waiting.isEmpty {
            guard breakers[target].state == .closed else {
                decideAnew(target)
                continue
            }
            // Those keep their turn.
            var passedOver: [GroupKey] = []
            while delivering < limits.concurrency, gates[target].limit(now: now) == nil,
                let key = gates[target].waiting.popFirst()
            {
                guard isWaiting(key, for: target) else { continue }
                // It is given back soon, or gets its turn when the shard is begun again.
                guard shards[key.shard].isOurs else { continue }
                guard !shards[key.shard].areDeletesFailing else {
                    passedOver.append(key)
                    continue
                }
                startNext(key, now, &effects)
            }
            gates[target].waiting.prepend(contentsOf: passedOver)
        }
    }

    /// Begins the first message of a group whose turn has come, unless it is not ours any more.
    private mutating func startNext(_ key: GroupKey, _ now: Timestamp, _ effects: inout [Effect]) {
        guard let line = lines[key], let head = line.messages.first else { return }
        if finished.contains(head) { return delete(key) }
        guard line.visibleAt > now || Mutation.lapsedGroupGoesOn.isOn else { return drop(key) }
        begin(key, now, &effects)
    }

    /// The target failed: who waits for it has its turn first of all.
    private mutating func decideAnew(_ target: Int) {
        let keys = gates[target].waiting.filter { isWaiting($0, for: target) }
        gates[target].waiting = []
        for key in keys { change(key) { $0.phase = .waiting } }
        turns.prepend(contentsOf: keys)
    }

    private func isWaiting(_ key: GroupKey, for target: Int) -> Bool {
        if case .limited(target, _) = lines[key]?.phase { true } else { false }
    }
}
