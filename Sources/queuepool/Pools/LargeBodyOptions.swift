// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QueuePoolAWS
import QueuePoolCore

/// Where bodies lie that are too large for queues of SQS.
struct LargeBodyOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Where bodies lie that are too large for the queues; the bucket is made where there is none.",
            valueName: "s3://bucket[/prefix]"))
    var bodies: String?
    @Option(
        help: ArgumentHelp(
            "How S3 encrypts the bodies: AES256 or aws:kms[:KEY]; what the bucket says unless set.", valueName: "how"))
    var bodiesEncryption: String?

    func validate() throws {
        if let bodies, S3Folder(bodies) == nil {
            throw ValidationError(
                "--bodies: '\(bodies)'; allowed: s3://BUCKET or s3://BUCKET/PREFIX, such as s3://my-bodies/emails")
        }
        if let bodiesEncryption {
            guard S3Encryption(bodiesEncryption) != nil else {
                throw ValidationError(
                    "--bodies-encryption: '\(bodiesEncryption)'; allowed: AES256, aws:kms or aws:kms:KEY")
            }
            if bodies == nil { throw ValidationError("--bodies-encryption: give --bodies too") }
        }
    }

    /// Before anything is made.
    func check(backend: PoolBackend) throws {
        if bodies != nil, backend != .sqs {
            throw ValidationError("--bodies: is for queues of SQS; give --backend sqs")
        }
    }

    /// `nil` if no place was named. A pool has its own folder unless one is named.
    /// - Parameter endpoint: that the pool remembers; `nil`: the region's own.
    func place(of pool: PoolName, region: String, endpoint: String?) -> BodyBucket? {
        guard let bodies, let folder = S3Folder(bodies) else { return nil }
        let isNamed = bodies.dropFirst("s3://".count).drop { $0 != "/" }.count > 1
        return BodyBucket(
            bucket: folder.bucket, prefix: isNamed ? folder.prefix : "\(folder.prefix)/\(pool)", region: region,
            endpoint: endpoint, encryption: bodiesEncryption)
    }
}
