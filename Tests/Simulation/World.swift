// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport

// Everything together, on one thread and in virtual time: senders, routers with the real pool, shards, workers with the
// real scheduler, targets, and what goes wrong. First faults strike while senders send; then faults stop, everybody is
// alive, and all that was accepted must arrive. A seed replays a run exactly.

/// One run.
final class World: @unchecked Sendable {
    /// Virtual milliseconds within which all that is left must be done once faults have stopped: the longest wait that the
    /// plan allows (an entry in doubt keeps its group's place for four minutes) and then some.
    static let quietMilliseconds: Int64 = 1_800_000

    let plan: WorldPlan
    let time = SimulatedTime()
    let wire: Wire
    private(set) var routers: [SimulatedRouter] = []
    private(set) var senders: [SimulatedSender] = []
    private(set) var workers: [SimulatedWorker] = []
    private(set) var targets: [SimulatedTarget] = []
    private(set) var visitors: [SimulatedVisitor] = []
    private(set) var service: SimulatedService?
    private(set) var machine: Machine?
    var checker = PromiseChecker(refusalsAreFinal: true)
    /// Judges workers and handles.
    var rules = WorkerRules()
    var trace = Trace(capacity: 4_096)
    /// Faults have stopped and nothing new is sent.
    var isQuiet = false
    /// And all is drained, and a while has passed: nothing is wrong.
    var isCalm = false
    var calm = CalmWatch()
    /// From then on nothing takes a message from a worker that lives.
    var calmAt = Timestamp.distantFuture
    /// Of deliveries, apart from the rest.
    var deliveryRandom: SplitMix64

    var random: SplitMix64
    var groups: [Int] = []
    var requestCount = 0
    /// Messages that were accepted and are neither deleted nor in the dead-letter queue.
    var open: Set<Int> = []
    /// Messages that were accepted, and those that are finished.
    var accepted: Set<Int> = []
    var finished: Set<Int> = []
    /// A router that restarts has forgotten who holds what.
    var isAnyRouterRestarted = false
    /// When embedded shards gave out a handle, and when they were opened.
    var receivedAt: [String: Timestamp] = [:]
    var openedAt = Timestamp.distantPast
    /// Messages that a worker gave up.
    var givenUp: Set<Int> = []
    /// The messages that ids are of.
    var numberOfID: [String: Int] = [:]
    /// Ids of messages that a worker handed on which it held from before the shards were opened.
    var staleHands: [Int: String] = [:]
    /// Messages of embedded shards whose deletion was asked for and failed: it may have been done.
    var maybeDeleted: Set<Int> = []
    /// Messages whose deletion was asked for.
    var asked: Set<Int> = []

    init(_ plan: WorldPlan) {
        self.plan = plan
        random = SplitMix64(seed: plan.seed ^ 0x5EED)
        deliveryRandom = SplitMix64(seed: plan.seed ^ 0xDE11)
        wire = Wire(time, longestWay: plan.longestWay, seed: random.next())
        if plan.isRemote {
            service = makeService()
        } else {
            machine = Machine(seed: random.next(), sealing: plan.sealing)
        }
        for number in 0..<plan.routerCount { routers.append(makeRouter(number)) }
        for _ in 0..<plan.targetCount { targets.append(SimulatedTarget(self, seed: random.next())) }
        for number in 0..<plan.workerCount {
            workers.append(SimulatedWorker(host("worker", 16 + number), self, seed: random.next()))
        }
        for number in 0..<plan.senderCount {
            let groups = (0..<plan.groupCount).filter { $0 % plan.senderCount == number || plan.sharesGroups }
            guard !groups.isEmpty else { continue }
            senders.append(
                SimulatedSender(
                    host("sender", 32 + number), self, groups: groups, count: plan.messagesOfSender,
                    seed: random.next()))
        }
        for number in 0..<plan.visitorCount {
            visitors.append(SimulatedVisitor(host("visitor", 48 + number), self, seed: random.next()))
        }
    }

    private func host(_ name: StaticString, _ number: Int) -> Host {
        let host = Host(name, number, time, offset: clockOffset())
        if plan.driftMax > 0 { host.driftPerMillion = Int64(random.below(2 * plan.driftMax)) - Int64(plan.driftMax) }
        return host
    }

    func clockOffset() -> Int64 { Int64(random.below(4_000)) - 2_000 }

    private func makeService() -> SimulatedService {
        let service = SimulatedService(time, seed: random.next())
        service.quota = plan.quota.map { $0 * plan.routerCount }
        service.onBroken = { [unowned self] in checker.broke($0, message: $1, now: time.now, $2) }
        for entry in plan.definition.topology.shards {
            service.add(entry.name, plan.attributes).onDeleted = { [unowned self] in deleted($0) }
        }
        return service
    }

    private func makeRouter(_ number: Int) -> SimulatedRouter {
        let seed = random.next()
        return SimulatedRouter(host("router", number), plan) { [unowned self] host in
            openShards(host, seed: seed &+ UInt64(host.life))
        } onReceived: { [unowned self] in
            received($0, seconds: $1)
        } onChanged: { [unowned self] in
            if isCalm { calmlyChanged($0, seconds: $1) }
        } onSent: { [unowned self] in
            service?.ledger.tookIn($0.map(World.number), router: routers[number].host)
        } onBroken: { [unowned self] in
            checker.broke($0, message: -1, now: time.now, $1)
        }
    }

    private func openShards(_ host: Host, seed: UInt64) -> [any Shard]? {
        if let machine { return machine.openShards(plan, host, seed: seed) }
        guard let service else { return nil }
        return service.queues.enumerated().map { place, queue in
            QueueShard(
                name: queue.name,
                address: QueueAddress(
                    endpoint: "http://sqs", region: "eu-central-1", queueURL: "http://sqs/1/\(queue.name)"),
                attributes: plan.attributes,
                caller: SimulatedCaller(host, service, place: place, plan: plan, seed: seed &+ UInt64(place)),
                clock: host)
        }
    }
}
