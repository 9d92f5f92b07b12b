// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolCurl
package import QueuePoolRuntime

/// Where a worker's messages come from, and where it keeps its leases.
package struct WorkerSource: Sendable {
    package let queue: any WorkerQueue
    /// `nil`: shards are owned without a lease.
    package let leases: (any LeaseStore)?
    /// What logs and errors call it; without credentials.
    package let label: String
    /// Asks whether leases of a pool are kept there at all; `nil`: they are. No answer says nothing against it. Throws
    /// if the worker may not receive there.
    let isKeepingLeases: (@Sendable (_ pool: String) async throws(AccessRefusal) -> Bool)?
    /// Bodies of messages that were deleted; `nil` where nobody but the queue knows of bodies.
    let bodies: FinishedBodies?
    /// Tells what became of a pool's messages; `nil`: nobody keeps that.
    let outcomes: (@Sendable (_ records: [TrackingRecord], _ pool: String) async -> Bool)?
    /// Its own connections, closed with the worker.
    let leaseEngine: CurlEngine?

    /// Pools that are open in this process.
    /// - Parameter targets: that messages go to; some want to know more of a message.
    package init(registry: PoolRegistry, leases: (any LeaseStore)?, label: String, targets: [String] = []) {
        let queue = PoolQueue(registry: registry, tellsSending: DeliveryURL.wantSending(targets))
        self.queue = queue
        bodies = queue.bodies
        self.leases = leases
        self.label = label
        isKeepingLeases = nil
        leaseEngine = nil
        if let tracking = registry.tracking {
            outcomes = { records, pool in
                guard let pool = PoolName(pool) else { return true }
                return await tracking.isSaved(records, ofPool: pool)
            }
        } else {
            outcomes = nil
        }
    }

    /// - Parameters:
    ///   - endpoint: `http://HOST:PORT` of a server, without a slash at its end.
    ///   - targets: that messages go to; some want to know more of a message.
    ///   - tls: towards the server; `nil`: as usual.
    init(
        endpoint: String, engine: CurlEngine, clock: any Clock, targets: [String] = [], tls: TransferTLS? = nil
    ) {
        // Behind the worker's calls a renewal could come too late.
        let leaseEngine = CurlEngine()
        queue = SQSEndpointQueue(
            engine: engine, endpoint: endpoint, clock: clock, tellsSending: DeliveryURL.wantSending(targets),
            tls: tls)
        let store = HTTPLeaseStore(engine: leaseEngine, endpoint: endpoint, tls: tls)
        leases = store
        isKeepingLeases = { (pool) async throws(AccessRefusal) in try await store.isServed(ofPool: pool) }
        label = DeliveryURL.label(endpoint)
        bodies = nil
        self.leaseEngine = leaseEngine
        let outcomes = HTTPOutcomes(engine: leaseEngine, endpoint: endpoint, tls: tls)
        self.outcomes = { await outcomes.save($0, ofPool: $1) }
    }

    package init(queue: any WorkerQueue, leases: (any LeaseStore)?, label: String) {
        self.queue = queue
        self.leases = leases
        self.label = label
        isKeepingLeases = nil
        leaseEngine = nil
        bodies = nil
        outcomes = nil
    }

    /// Waits until the bodies of deleted messages are removed, or so long. What is left then goes when its lifetime is over.
    func settle(milliseconds: Int64, _ clock: any Clock) async {
        let until = clock.now() + milliseconds
        while let bodies, bodies.underWay > 0, clock.now() < until { await clock.pause(milliseconds: 20) }
    }
}
