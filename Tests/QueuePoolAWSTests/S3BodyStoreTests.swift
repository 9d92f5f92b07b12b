// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolAWS

private func store(
    _ caller: any AWSCaller, endpoint: String = "http://127.0.0.1:1", encryption: S3Encryption? = nil,
    bytesMax: Int = 100
) throws -> S3BodyStore {
    S3BodyStore(
        folder: try #require(S3Folder("s3://bodies/mail/a")), service: s3(caller, endpoint: endpoint),
        encryption: encryption, bytesMax: bytesMax)
}

extension BodyStore {
    fileprivate func put(_ body: [UInt8], key: String) async -> Result<Void, BodyStoreError> {
        await withCheckedContinuation { done in put(body, key: key) { done.resume(returning: $0) } }
    }

    fileprivate func get(key: String, bytesMax: Int = 100) async -> Result<[UInt8], BodyStoreError> {
        await withCheckedContinuation { done in get(key: key, bytesMax: bytesMax) { done.resume(returning: $0) } }
    }

    fileprivate func remove(key: String) async -> Result<Void, BodyStoreError> {
        await withCheckedContinuation { done in remove(key: key) { done.resume(returning: $0) } }
    }
}

extension Result where Success == Void, Failure == BodyStoreError {
    fileprivate var error: BodyStoreError? { if case .failure(let error) = self { error } else { nil } }
}

@Suite struct `A store of bodies in S3` {
    @Test func `asks for objects of its bucket`() async throws {
        let caller = RecordedCaller(.http(200), .http(200, "xyz"), .http(204))
        let store = try store(caller)
        #expect(await store.put([1, 2], key: "mail/a/k").error == nil)
        #expect(await store.get(key: "mail/a/k") == .success(Array("xyz".utf8)))
        #expect(await store.remove(key: "mail/a/k").error == nil)
        let url = "http://127.0.0.1:1/bodies/mail/a/k"
        #expect(caller.lines == ["PUT \(url)", "GET \(url)", "DELETE \(url)"])
        #expect(caller.requests.allSatisfy { $0.service == "s3" && $0.region == "eu-central-1" && !$0.isLongPoll })
        #expect(caller.requests[0].body == [1, 2] && caller.requests[1].body.isEmpty)
        #expect(caller.requests[0].header("x-amz-server-side-encryption") == nil)
        #expect(store.bucket == "bodies")
    }

    @Test(arguments: [
        ("https://s3.eu-central-1.amazonaws.com", "https://bodies.s3.eu-central-1.amazonaws.com/a%20%2B/%C3%A9"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "https://bodies.s3.cn-north-1.amazonaws.com.cn/a%20%2B/%C3%A9"),
        ("http://minio:9000", "http://minio:9000/bodies/a%20%2B/%C3%A9"),
        ("https://s3.example.com", "https://s3.example.com/bodies/a%20%2B/%C3%A9"),
    ]) func `names the bucket in the host where it is Amazon's`(endpoint: String, url: String) async throws {
        let caller = RecordedCaller(.http(200))
        _ = await (try store(caller, endpoint: endpoint)).get(key: "a +/é")
        #expect(caller.lines == ["GET \(url)"])
    }

    @Test func `names a bucket in the path whose name a certificate does not cover`() async throws {
        let caller = RecordedCaller(.http(200))
        let folder = try #require(S3Folder("s3://my.bodies"))
        let service = s3(caller, endpoint: "https://s3.eu-central-1.amazonaws.com")
        _ = await S3BodyStore(folder: folder, service: service).get(key: "k")
        #expect(caller.lines == ["GET https://s3.eu-central-1.amazonaws.com/my.bodies/k"])
    }

    @Test func `says how bodies are encrypted if it was told to`() async throws {
        for (encryption, kind, key) in [
            (S3Encryption.s3, "AES256", nil), (.kms(key: nil), "aws:kms", nil),
            (.kms(key: "arn:k"), "aws:kms", "arn:k"),
        ] as [(S3Encryption, String, String?)] {
            let caller = RecordedCaller(.http(200))
            #expect(await (try store(caller, encryption: encryption)).put([1], key: "mail/a/k").error == nil)
            let request = try #require(caller.requests.first)
            #expect(request.header("x-amz-server-side-encryption") == kind)
            #expect(request.header("x-amz-server-side-encryption-aws-kms-key-id") == key)
        }
    }

    @Test(
        arguments: [
            (.s3(404, "NoSuchKey"), .missing), (.s3(404, "NoSuchBucket"), .refused(code: "NoSuchBucket")),
            (.http(404, "<html>"), .refused(code: "HTTP404")),
            (.s3(403, "AccessDenied"), .refused(code: "AccessDenied")),
            (.s3(301, "PermanentRedirect"), .refused(code: "PermanentRedirect")),
            (.failure(.permanent(code: "TLS", status: 0)), .refused(code: "TLS")),
            (.failure(.credentials(reason: "r")), .unavailable(code: "Credentials")),
            (.failure(.cancelled), .unavailable(code: "Cancelled")),
        ] as [(Result<HTTPResponse, AWSError>, BodyStoreError)])
    func `tells a failure that stays, after one try`(
        answer: Result<HTTPResponse, AWSError>, error: BodyStoreError
    ) async throws {
        let caller = RecordedCaller(answer, .http(200))
        #expect(await (try store(caller)).get(key: "k") == .failure(error))
        #expect(caller.requests.count == 1)
    }

    @Test(
        arguments: [
            (.s3(503, "SlowDown"), "SlowDown"), (.s3(500, "InternalError"), "InternalError"), (.http(502), "HTTP502"),
            (.s3(400, "RequestTimeout"), "RequestTimeout"), (.http(429), "HTTP429"),
            (.failure(.retryable(code: "Unreachable")), "Unreachable"),
            (.failure(.unknownOutcome(code: "Timeout")), "Timeout"),
        ] as [(Result<HTTPResponse, AWSError>, String)])
    func `tries three times where it may pass`(answer: Result<HTTPResponse, AWSError>, code: String) async throws {
        let mended = RecordedCaller(answer, answer, .http(200, "b"))
        #expect(await (try store(mended)).get(key: "k") == .success(Array("b".utf8)))
        let broken = RecordedCaller(answer, answer, answer, .http(200))
        #expect(await (try store(broken)).put([7], key: "mail/a/k").error == .unavailable(code: code))
        #expect(broken.requests.count == 3 && broken.requests.allSatisfy { $0.body == [7] })
    }

    @Test func `shows no more of a refusal than a code`() async throws {
        let answer = Result<HTTPResponse, AWSError>.s3(400, "Bad; to=a@example.com\n")
        #expect(
            await (try store(RecordedCaller(answer))).get(key: "k") == .failure(.refused(code: "Badtoaexample.com")))
    }

    @Test func `stores nothing that is over its limit`() async throws {
        let caller = RecordedCaller()
        let body = [UInt8](repeating: 0, count: 101)
        #expect(await (try store(caller)).put(body, key: "mail/a/k").error == .tooLarge(bytes: 101, allowed: 100))
        #expect(caller.requests.isEmpty)
    }

    @Test func `stops reading what is over the caller's limit, and says how large it is`() async throws {
        let limit = 1 << 20
        let tooLarge = Result<HTTPResponse, AWSError>.failure(.permanent(code: "AnswerTooLarge", status: 0))
        let caller = RecordedCaller(tooLarge, .http(206, "x", [("content-range", "bytes 0-0/5000000")]))
        #expect(
            await (try store(caller)).get(key: "k", bytesMax: limit)
                == .failure(.tooLarge(bytes: 5_000_000, allowed: limit)))
        #expect(caller.requests.map(\.answerBytesMax) == [limit, 65_536])
        #expect(caller.requests.map { $0.header("Range") } == [nil, "bytes=0-0"])
        let silent = RecordedCaller(tooLarge, .s3(403, "AccessDenied"))
        #expect(
            await (try store(silent)).get(key: "k", bytesMax: limit)
                == .failure(.tooLarge(bytes: limit + 1, allowed: limit)))
    }

    @Test func `gives nothing that is over a limit smaller than a refusal`() async throws {
        let caller = RecordedCaller(.http(200, "abcd"), .http(200, "abc"), .http(200))
        let store = try store(caller)
        #expect(await store.get(key: "k", bytesMax: 3) == .failure(.tooLarge(bytes: 4, allowed: 3)))
        #expect(await store.get(key: "k", bytesMax: 3) == .success(Array("abc".utf8)))
        #expect(await store.get(key: "k", bytesMax: 0) == .success([]))
        #expect(caller.requests.allSatisfy { $0.answerBytesMax == 65_536 })
    }

    @Test func `removes what is not there`() async throws {
        #expect(await (try store(RecordedCaller(.s3(404, "NoSuchKey")))).remove(key: "mail/a/k").error == nil)
        #expect(
            await (try store(RecordedCaller(.s3(404, "NoSuchBucket")))).remove(key: "mail/a/k").error
                == .refused(code: "NoSuchBucket"))
    }

    @Test(arguments: ["", "k", "mail/ab/k", "mail/a", "mail/a/../k", "mail/a/./k", "other/mail/a/k"])
    func `neither removes nor stores anything outside its folder`(key: String) async throws {
        let caller = RecordedCaller(.http(204), .http(204))
        let store = try store(caller)
        #expect(await store.remove(key: key).error == .refused(code: "ForeignKey"))
        #expect(await store.put([1], key: key).error == .refused(code: "ForeignKey"))
        #expect(caller.requests.isEmpty)
    }

    @Test(arguments: ["", ".", "..", "a/../../other/k", "./k", String(repeating: "k", count: 1_025)])
    func `reads nothing by a key that leads elsewhere`(key: String) async throws {
        let caller = RecordedCaller(.http(200))
        #expect(await (try store(caller)).get(key: key) == .failure(.refused(code: "InvalidKey")))
        #expect(caller.requests.isEmpty)
    }
}

@Suite struct `A folder of S3` {
    @Test(arguments: [
        ("s3://bodies", "s3://bodies/queuepool-bodies"), ("s3://bodies/", "s3://bodies/queuepool-bodies"),
        ("s3://bodies/a", "s3://bodies/a"), ("s3://bodies/a/b/", "s3://bodies/a/b"), ("s3://a.b-1/x", "s3://a.b-1/x"),
    ]) func `is read`(text: String, folder: String) {
        #expect(S3Folder(text)?.description == folder)
    }

    @Test(arguments: [
        "", "bodies", "s3:/bodies", "https://bodies/a", "s3://", "s3:///a", "s3://ab", "s3://.", "s3://..",
        "s3://Bodies", "s3://a_b", "s3://-ab", "s3://ab-", "s3://a..b", "s3://a@b", "s3://a%2f", "s3://b?c=d",
        "s3://bodies//a", "s3://bodies/a//", "s3://bodies/a//b", "s3://bodies/..", "s3://bodies/a/../b",
        "s3://bodies/a\nb", "s3://bodies/" + String(repeating: "a", count: 201),
        "s3://" + String(repeating: "a", count: 64),
    ]) func `is not read from anything else`(text: String) {
        #expect(S3Folder(text) == nil)
    }
}
