// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
import Foundation
import QueuePoolAWS
public import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import QueuePoolSettings

// `pool create --backend sqs`, `pool adopt` and `pool verify`: what is done is decided in QueuePoolAWS; here it is put
// together and told.

extension PoolBackend: ExpressibleByArgument {}

/// Settings of queues that are made.
struct QueueOptions: ParsableArguments {
    @Option(help: "Seconds a received message is hidden, 0...43200.")
    var visibilityTimeout = Defaults.visibilitySeconds
    @Option(help: "Seconds a message is kept, 60...1209600.")
    var retention = Defaults.retentionSeconds
    @Option(help: "Deliveries after which a message goes to the dead-letter queue, 1...1000.") var maxReceiveCount = 10
    @Flag(help: "Give each message group a quota of its own (FifoThroughputLimit perMessageGroupId).")
    var highThroughput = false

    func validate() throws {
        try check("--visibility-timeout", visibilityTimeout, 0...43_200)
        try check("--retention", retention, 60...1_209_600)
        try check("--max-receive-count", maxReceiveCount, 1...1_000)
    }

    private func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
        if !range.contains(value) {
            throw ValidationError("\(name): \(value); allowed: \(range.lowerBound)...\(range.upperBound)")
        }
    }

    var options: PoolQueueOptions {
        var options = PoolQueueOptions()
        options.visibilityTimeoutSeconds = visibilityTimeout
        options.retentionSeconds = retention
        options.maxReceiveCount = maxReceiveCount
        options.isHighThroughput = highThroughput
        return options
    }
}

extension PoolCommand.Create {
    func createOnSQS() async throws {
        try await provisioning(control) { [name, shards, quota, queues, places, bodies] provisioner, base, access in
            let report = try provisioner.create(
                name, shards: shards, quota: quota, options: queues.options,
                places: try places.places(base, shards: shards), bodies: try bodies.plan(of: name, access))
            print(describe(report, name), terminator: "")
        }
    }
}

extension PoolCommand.Adopt {
    func adoptOnSQS() async throws {
        try await provisioning(control) { [name, queues, quota, places, bodies] provisioner, base, access in
            let places = try places.places(base, shards: queues.count)
            let report = try provisioner.adopt(
                name, urls: queues, quota: quota, places: places, bodies: try bodies.plan(of: name, access)
            ) { notes in
                for note in notes { print(note) }
            }
            print(describe(report, name), terminator: "")
        }
    }
}

extension PoolCommand.Verify {
    func verifyOnSQS() async throws {
        try await provisioning(control, makesTable: false) { [name] provisioner, _, _ in
            let differences = try provisioner.verify(name, options: queueOptions)
            for difference in differences { print(difference) }
            if !differences.isEmpty {
                throw CommandFailure("\(name): \(differences.count) differences")
            }
            print("\(name): as it should be")
        }
    }
}

extension LargeBodyOptions {
    /// What is to be prepared; `nil` if no place was named.
    fileprivate func plan(of pool: PoolName, _ access: AWSAccess) throws -> BodyPlan? {
        guard bodies != nil else { return nil }
        let url = try access.endpoint("s3")
        let remembered = url.contains(".amazonaws.com") ? nil : url
        return try place(of: pool, region: access.region, endpoint: remembered).map { place in
            BodyPlan(place: place, administrator: S3Administrator(service: try access.bodies(in: place)))
        }
    }
}

private func describe(_ report: ProvisioningReport, _ name: PoolName) -> String {
    "\(name): \(report.created.count) queues created, \(report.taken.count) found; "
        + (report.isNewPool ? "written to the control store\n" : "in the control store already\n")
}

/// What stored attributes mean for queues.
private func queueOptions(_ encoded: String) -> PoolQueueOptions {
    var options = PoolQueueOptions()
    guard let attributes = try? QueueAttributeSet(encoded: encoded) else { return options }
    let meaning = attributes.queueAttributes
    options.visibilityTimeoutSeconds = meaning.visibilityTimeoutSeconds
    options.retentionSeconds = meaning.retentionSeconds
    options.maxReceiveCount = meaning.redrive?.maxReceiveCount ?? options.maxReceiveCount
    options.messageBytesMax = meaning.maximumMessageSize
    options.isHighThroughput = attributes[.fifoThroughputLimit] == "perMessageGroupId"
    return options
}

/// As the SQS door writes them down.
private func encode(_ texts: [String: String]) -> String {
    var attributes = QueueAttributeSet()
    // Read back from a service that accepted them: were one unknown here, the pool would have the defaults.
    try? attributes.update(texts, queue: "")
    return attributes.encoded()
}

/// Runs a blocking body on a thread of its own, and tells what went wrong.
private func provisioning(
    _ control: ControlOptions, makesTable: Bool = true,
    _ body: @escaping @Sendable (_ provisioner: PoolProvisioner, _ base: ShardPlace, _ access: AWSAccess) throws -> Void
) async throws {
    try await reportingFailures {
        let settings = try await control.settings()
        let clock = SystemClock()
        let access = try AWSAccess(settings, clock: clock)
        let store = try openControlStore(settings, clock: clock)
        try await onOwnThread {
            do {
                if makesTable, let table = store as? DynamoDBControlStore {
                    try table.makeTable { clock.block(milliseconds: 1_000) }
                }
                let base = ShardPlace(region: access.region, endpoint: try access.rememberedEndpoint())
                let provisioner = PoolProvisioner(store: store, clock: clock, encode: encode) {
                    place throws(AWSError) in try access.queues(in: place)
                }
                try body(provisioner, base, access)
            } catch let error as ProvisioningError {
                throw failure(error)
            } catch let error as ControlStoreError {
                throw CommandFailure("the control store: \(describe(error))", status: ExitStatus.unavailable)
            }
        }
    }
}

/// Runs a blocking body on a thread of its own.
func onOwnThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Value, any Error>) in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}

private func failure(_ error: ProvisioningError) -> CommandFailure {
    switch error {
    case .different(let differences):
        CommandFailure(
            "queues are there and different; nothing was changed in them:\n"
                + differences.map { "  \($0)" }.joined(separator: "\n"))
    case .poolDiffers(let what): CommandFailure("the pool is not what was asked for: \(what)")
    case .noSuchQueue(let url): CommandFailure("there is no queue '\(url)'")
    case .service(let queue, let place, .credentials(let reason)):
        CommandFailure("\(queue) in \(place): no credentials: \(reason)", status: ExitStatus.unavailable)
    case .service(let queue, let place, let error):
        CommandFailure("\(queue) in \(place): SQS answered \(error.code)", status: ExitStatus.unavailable)
    case .bodies(let why): CommandFailure("--bodies: \(why)")
    case .bucket(let bucket, let error):
        CommandFailure("the bucket '\(bucket)': S3 answered \(error.code)", status: ExitStatus.unavailable)
    case .store(let error):
        CommandFailure("the control store: \(describe(error))", status: ExitStatus.unavailable)
    }
}
