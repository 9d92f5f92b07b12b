// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

// The judge of this file is Amazon's extended client for Python, whose texts are the fixtures of its tests. That one is
// written with spaces and Java's without, so a reader that compared bytes would miss one of the two.

extension BodyPointer {
    /// Longest text that is looked at. S3 allows 63 bytes of a bucket's name and 1,024 of a key's, and JSON may write
    /// each of those as six; a body that is longer is a body.
    public static let textBytesMax = 8_192

    /// The body that the queue gets: one line of JSON without blanks.
    public var text: String { String(decoding: utf8, as: UTF8.self) }

    /// The bytes of `text`.
    public var utf8: [UInt8] {
        var json = JSONWriter(capacity: 128 + bucket.utf8.count + key.utf8.count)
        json.beginArray()
        json.string(literal: "software.amazon.payloadoffloading.PayloadS3Pointer")
        json.beginObject()
        json.key("s3BucketName")
        json.string(bucket)
        json.key("s3Key")
        json.string(key)
        json.endObject()
        json.endArray()
        return json.take()
    }

    /// Reads a pointer, ours or another library's; `nil` for a body that is none.
    public static func read(_ body: [UInt8]) -> BodyPointer? { body.withUnsafeBytes { read($0) } }

    /// Reads a pointer, ours or another library's; `nil` for a body that is none.
    ///
    /// A member that is not known is stepped over: a later library may say more about a body, and it lies there still.
    public static func read(_ body: UnsafeRawBufferPointer) -> BodyPointer? {
        guard body.count <= textBytesMax else { return nil }
        do throws(JSONFault) { return try parse(body) } catch { return nil }
    }

    private static func parse(_ body: UnsafeRawBufferPointer) throws(JSONFault) -> BodyPointer? {
        var json = JSONReader(body)
        try json.beginArray()
        guard try json.nextElement() else { return nil }
        let name = try json.readString()
        guard
            name.equals("software.amazon.payloadoffloading.PayloadS3Pointer")
                || name.equals("com.amazon.sqs.javamessaging.MessageS3Pointer"), try json.nextElement()
        else { return nil }
        var bucket: String?
        var key: String?
        try json.beginObject()
        while let member = try json.nextKey() {
            if member.equals("s3BucketName") {
                bucket = try json.readString().text
            } else if member.equals("s3Key") {
                key = try json.readString().text
            } else {
                try json.skipValue()
            }
        }
        guard try !json.nextElement() else { return nil }
        try json.finish()
        guard let bucket, let key, !bucket.isEmpty, !key.isEmpty else { return nil }
        return BodyPointer(bucket: bucket, key: key)
    }
}
