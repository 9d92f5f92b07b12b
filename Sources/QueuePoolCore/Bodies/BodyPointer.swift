// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What a queue holds in place of a body that lies in a body store. Its text is the one of Amazon's extended client
/// libraries, so that they read what we send and we read what they send:
/// `["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"B","s3Key":"K"}]`.
public struct BodyPointer: Hashable, Sendable {
    public let bucket: String
    public let key: String

    public init(bucket: String, key: String) {
        self.bucket = bucket
        self.key = key
    }

    /// The bucket of bodies that lie in the data directory of a server of ours. No bucket of S3 can have this name: they
    /// are at least three characters long.
    public static let embeddedBucket = "."
    /// The attribute, of type `Number`, by which a message says that its body is a pointer: the body's size in bytes.
    public static let sizeAttribute = "ExtendedPayloadSize"
    /// What older libraries call it.
    public static let olderSizeAttribute = "SQSLargePayloadSize"
}
