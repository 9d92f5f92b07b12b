// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolAWS

/// On a thread of its own: the administrator's calls block.
private func blocking<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<R, any Error>) in
        Thread.detachNewThread { done.resume(with: Result { try body() }) }
    }
}

private let head =
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
    + "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
private let end = "</LifecycleConfiguration>"
/// With what we do not know, and blanks, comments and entities that somebody chose.
private let foreign =
    "<Rule>\n <ID>logs &amp; more</ID><!-- x --><Filter><And><Prefix>logs/</Prefix><Tag><Key>a</Key><Value>b</Value></Tag>"
    + "</And></Filter><Status>Disabled</Status><Transition><Days>30</Days><StorageClass>GLACIER</StorageClass>"
    + "</Transition><Novelty>1</Novelty></Rule>"
private let older =
    "<Rule><ID>old</ID><Prefix>tmp/</Prefix><Status>Enabled</Status><Expiration><Days>1</Days></Expiration></Rule>"
private func ours(_ days: Int, status: String = "Enabled") -> String {
    "<Rule><ID>queuepool-bodies-mail/a</ID><Filter><Prefix>mail/a/</Prefix></Filter><Status>\(status)</Status>"
        + "<Expiration><Days>\(days)</Days></Expiration>"
        + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration></Rule>"
}

/// The rules before and after: of a bucket without any, with others, with an earlier end, with ours switched off, with
/// rules of the older form.
private let expirations: [(String, String)] = {
    var all: [(String, String)] = [("", ours(8))]
    all.append((foreign, foreign + ours(8)))
    all.append((foreign + ours(7) + foreign, foreign + ours(8) + foreign))
    all.append((ours(60, status: "Disabled"), ours(8)))
    let plain = ours(8).replacingOccurrences(of: "<Filter>", with: "").replacingOccurrences(of: "</Filter>", with: "")
    all.append((older, older + plain))
    return all
}()

@Suite struct `An administrator of S3` {
    private func folder() throws -> S3Folder { try #require(S3Folder("s3://bodies/mail/a")) }

    @Test(
        arguments: [
            (.http(200, "", [("x-amz-bucket-region", "eu-central-1")]), .usable(region: "eu-central-1")),
            (.http(200), .usable(region: nil)), (.s3(404, "NoSuchBucket"), .absent),
            (.s3(403, "AccessDenied"), .forbidden),
            (
                .http(301, "<Error><Code>PermanentRedirect</Code></Error>", [("x-amz-bucket-region", "us-west-2")]),
                .elsewhere(region: "us-west-2")
            ),
            (
                .http(400, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>"),
                .elsewhere(region: "us-west-2")
            ),
            (.http(301, "<Error><Code>PermanentRedirect</Code><Region>a b</Region></Error>"), .elsewhere(region: nil)),
        ] as [(Result<HTTPResponse, AWSError>, S3BucketState)])
    func `knows what a bucket is`(answer: Result<HTTPResponse, AWSError>, state: S3BucketState) async throws {
        let caller = RecordedCaller(answer)
        #expect(try await blocking { try S3Administrator(service: s3(caller)).state(ofBucket: "bodies") } == state)
        #expect(caller.lines == ["GET http://127.0.0.1:1/bodies/?list-type=2&max-keys=0"])
    }

    @Test func `does not take a refusal for a bucket's state`() async throws {
        await #expect(throws: AWSError.permanent(code: "InvalidRequest", status: 400)) {
            let administrator = S3Administrator(service: s3(RecordedCaller(.s3(400, "InvalidRequest"))))
            return try await blocking { try administrator.state(ofBucket: "bodies") }
        }
        let caller = RecordedCaller()
        await #expect(throws: AWSError.permanent(code: "InvalidBucketName", status: 0)) {
            try await blocking { try S3Administrator(service: s3(caller)).state(ofBucket: "a/../b") }
        }
        #expect(caller.requests.isEmpty)
    }

    @Test func `makes a bucket in its region`() async throws {
        let caller = RecordedCaller(.http(200), .http(200), .s3(409, "BucketAlreadyOwnedByYou"))
        try await blocking {
            try S3Administrator(service: s3(caller)).create(bucket: "bodies")
            try S3Administrator(service: s3(caller, region: "us-east-1")).create(bucket: "bodies")
            try S3Administrator(service: s3(caller)).create(bucket: "bodies")
        }
        let constraint = "<LocationConstraint>eu-central-1</LocationConstraint>"
        #expect(caller.lines == Array(repeating: "PUT http://127.0.0.1:1/bodies/", count: 3))
        #expect(String(decoding: caller.requests[0].body, as: UTF8.self).contains(constraint))
        #expect(caller.requests[1].body.isEmpty)
        await #expect(throws: AWSError.permanent(code: "BucketAlreadyExists", status: 409)) {
            let administrator = S3Administrator(service: s3(RecordedCaller(.s3(409, "BucketAlreadyExists"))))
            try await blocking { try administrator.create(bucket: "bodies") }
        }
    }

    @Test(arguments: expirations)
    func `lets bodies expire and keeps the bucket's other rules as they are`(before: String, after: String)
        async throws
    {
        let size = (name: "x-amz-transition-default-minimum-object-size", value: "varies_by_storage_class")
        let read: Result<HTTPResponse, AWSError> =
            before.isEmpty ? .s3(404, "NoSuchLifecycleConfiguration") : .http(200, head + before + end, [size])
        let caller = RecordedCaller(read, .http(200))
        let folder = try folder()
        #expect(try await blocking { try S3Administrator(service: s3(caller)).expire(folder, afterDays: 8) })
        let url = "http://127.0.0.1:1/bodies/?lifecycle="
        #expect(caller.lines == ["GET \(url)", "PUT \(url)"])
        let put = try #require(caller.requests.last)
        #expect(String(decoding: put.body, as: UTF8.self) == String(head.drop { $0 != "\n" }.dropFirst()) + after + end)
        #expect(put.header(size.name) == (before.isEmpty ? nil : size.value))
        #expect(put.header("Content-MD5")?.count == 24)
    }

    @Test func `does not let bodies go earlier than another pool asked for`() async throws {
        let caller = RecordedCaller(.http(200, head + foreign + ours(15) + end))
        let folder = try folder()
        #expect(try await !blocking { try S3Administrator(service: s3(caller)).expire(folder, afterDays: 8) })
        #expect(caller.requests.count == 1)
    }

    @Test(arguments: [
        "", "<html>", head + "<Rule x=\"1\"><ID>a</ID></Rule>" + end, head + "<Rule><ID>a</ID>",
        "<s:LifecycleConfiguration><s:Rule></s:Rule></s:LifecycleConfiguration>",
    ]) func `leaves rules alone that it does not understand`(document: String) async throws {
        let caller = RecordedCaller(.http(200, document), .http(200))
        let folder = try folder()
        await #expect(throws: AWSError.permanent(code: "UnreadableLifecycle", status: 200)) {
            try await blocking { try S3Administrator(service: s3(caller)).expire(folder, afterDays: 8) }
        }
        #expect(caller.requests.count == 1)
    }
}
