// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSettings
import Synchronization

/// The stores of bodies in S3 that pools name. Nothing of AWS is asked for before a pool names one.
final class S3Bodies: Sendable {
    private struct State {
        var access: AWSAccess?
        var stores: [BodyBucket: S3BodyStore] = [:]
    }

    private let makeAccess: @Sendable () throws -> AWSAccess
    private let bytesMax: Int
    private let state = Mutex(State())

    /// - Parameters:
    ///   - bytesMax: of a body that is stored.
    ///   - access: how S3 is reached.
    init(bytesMax: Int = S3BodyStore.bytesMax, access: @escaping @Sendable () throws -> AWSAccess) {
        self.bytesMax = bytesMax
        makeAccess = access
    }

    /// The store of a place.
    /// - Throws: `CommandFailure` if nobody named a region, or the place cannot be one.
    func store(_ place: BodyBucket) throws -> S3BodyStore {
        try state.withLock { state in
            if let known = state.stores[place] { return known }
            let access = try state.access ?? makeAccess()
            state.access = access
            guard let folder = S3Folder(bucket: place.bucket, prefix: place.prefix) else {
                throw CommandFailure("the pool's bodies lie in no bucket's folder", status: ExitStatus.configuration)
            }
            var encryption: S3Encryption?
            if let text = place.encryption {
                encryption = S3Encryption(text)
                // Better no body than one that lies there otherwise than its owner said.
                if encryption == nil {
                    throw CommandFailure(
                        "the encryption of the pool's bodies is not known", status: ExitStatus.configuration)
                }
            }
            let store = S3BodyStore(
                folder: folder, service: try access.bodies(in: place), encryption: encryption, bytesMax: bytesMax)
            state.stores[place] = store
            return store
        }
    }

    /// Where a pool's bodies go; `nil` if not to S3.
    func store(of pool: PoolDefinition) -> (any BodyStore)? {
        guard case .s3(let place)? = pool.bodies else { return nil }
        return try? store(place)
    }

    /// Where a body lies that a message of the pool points to; `nil` if it is in no bucket of the pool's.
    func place(of pool: PoolDefinition, _ pointer: BodyPointer) -> (any BodyStore)? {
        guard case .s3(let place)? = pool.bodies, place.bucket == pointer.bucket else { return nil }
        return try? store(place)
    }
}

extension AWSAccess {
    /// S3 where a pool's bodies lie.
    func bodies(in place: BodyBucket) throws -> S3Service {
        S3Service(
            caller: caller, region: place.region, endpoint: try place.endpoint ?? endpoint("s3", region: place.region),
            clock: local)
    }
}
