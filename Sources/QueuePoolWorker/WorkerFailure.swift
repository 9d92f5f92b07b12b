// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why a worker ended without being told to, or without finishing.
public enum WorkerFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// Messages were delivered and could not be deleted: they will be delivered again.
    case undeleted(count: Int)
    /// The server answers, and has no such pool.
    case noPool(String, endpoint: String)
    /// The server answers, and knows nothing of leases: it is an older one, or plain SQS.
    case noLeases(endpoint: String)
    /// The server lets nobody in of whom it does not know who he is.
    case unknownCaller(endpoint: String)
    /// The server knows the worker's key, which lacks a right.
    case noRight(String, endpoint: String)
    /// Shards that were asked for and are none of the pool's `count`.
    case noShards([Int], pool: String, count: Int)
    /// A target is gone for good, such as a closed pipe. What was not delivered is still in the pool.
    case targetEnded(target: String, errorClass: String)

    public var description: String {
        switch self {
        case .undeleted(let count):
            "\(count) delivered messages could not be deleted; they will be delivered again"
        case .noPool(let pool, let endpoint):
            "the server at \(endpoint) has no pool \(pool); make it with: queuepool pool create \(pool)"
        case .noLeases(let endpoint):
            "the server at \(endpoint) keeps no leases, by which workers share the shards of a pool; name the shards of "
                + "this worker by --shards if the server has the pool, or go straight to its queues by --control"
        case .unknownCaller(let endpoint):
            "the server at \(endpoint) wants a key that it knows: --token-file FILE or QUEUEPOOL_TOKEN has its token "
                + "(queuepool key create)"
        case .noRight(let why, let endpoint):
            "the server at \(endpoint) refuses: \(why) The key is that of --token-file or QUEUEPOOL_TOKEN"
        case .noShards(let numbers, let pool, let count):
            "the pool \(pool) has \(count) shards, 0 to \(count - 1); --shards names "
                + numbers.prefix(10).map(String.init).joined(separator: ", ") + (numbers.count > 10 ? ", ..." : "")
        case .targetEnded(let target, let errorClass):
            "the target \(target) is gone (\(errorClass)); what was not delivered is still in the pool"
        }
    }

    init(_ refusal: AccessRefusal, endpoint: String) {
        switch refusal {
        case .unknownCaller: self = .unknownCaller(endpoint: endpoint)
        case .noRight(let why): self = .noRight(why, endpoint: endpoint)
        }
    }
}
