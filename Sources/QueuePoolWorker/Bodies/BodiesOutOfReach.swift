// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore

/// Bodies in S3, for a worker that has only a server's address: no target may get the pointer for the body, so that these
/// messages wait for a worker that is told where bodies lie, by `--control`.
final class BodiesOutOfReach: BodyStore {
    static let shared = BodiesOutOfReach()
    /// What logs say; the outcome of each attempt, which spends nothing.
    static let code = "in-s3-needs---control"

    private let queue = DispatchQueue(label: "queuepool.bodies.none")

    var bucket: String { "" }

    func newKey() -> String { "" }

    func put(_ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        queue.async { completion(.failure(.unavailable(code: BodiesOutOfReach.code))) }
    }

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {
        queue.async { completion(.failure(.unavailable(code: BodiesOutOfReach.code))) }
    }

    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {
        queue.async { completion(.failure(.unavailable(code: BodiesOutOfReach.code))) }
    }
}
