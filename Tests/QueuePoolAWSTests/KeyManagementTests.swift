// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolAWS

private let arn = "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
private let context = ["file": "store-0.sqlite", "purpose": "data key"]

private func kms(_ caller: any AWSCaller, endpoint: String = "https://kms.test") throws -> KeyManagement {
    try KeyManagement(caller: caller, region: "eu-central-1", endpoint: endpoint, clock: HastyClock())
}

/// As the service refuses: no namespace before the name.
private func refused(_ type: String, _ status: Int = 400) -> Result<HTTPResponse, AWSError> {
    .http(status, "{\"__type\":\"\(type)\",\"message\":\"words\"}")
}

@Suite struct `The Key Management Service` {
    @Test func `is asked to encrypt as its reference says`() throws {
        let caller = RecordedCaller(
            .http(
                200,
                "{\"CiphertextBlob\":\"AQID\",\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\",\"KeyId\":\"\(arn)\"}"))
        let sealed = try kms(caller).encrypt([1, 2, 255], key: "alias/pool", context: context)
        #expect(sealed.ciphertext == [1, 2, 3] && sealed.key == arn)
        let request = try #require(caller.requests.first)
        #expect(request.method == "POST" && request.url == "https://kms.test/")
        #expect(request.service == "kms" && request.region == "eu-central-1")
        #expect(request.header("X-Amz-Target") == "TrentService.Encrypt")
        #expect(request.header("Content-Type") == "application/x-amz-json-1.1")
        #expect(
            String(decoding: request.body, as: UTF8.self)
                == "{\"EncryptionContext\":{\"file\":\"store-0.sqlite\",\"purpose\":\"data key\"},"
                + "\"KeyId\":\"alias/pool\",\"Plaintext\":\"AQL/\"}")
    }

    @Test func `is asked to decrypt with the key that must have encrypted, and in the same context`() throws {
        let caller = RecordedCaller(
            .http(
                200,
                "{\"EncryptionAlgorithm\":\"SYMMETRIC_DEFAULT\",\"KeyId\":\"\(arn)\",\"KeyMaterialId\":\"0a\","
                    + "\"Plaintext\":\"AQL/\"}"))
        #expect(try kms(caller).decrypt([1, 2, 3], key: arn, context: context) == [1, 2, 255])
        let request = try #require(caller.requests.first)
        #expect(request.header("X-Amz-Target") == "TrentService.Decrypt")
        #expect(
            try JSONTree(request.body) == [
                "CiphertextBlob": "AQID", "KeyId": .string(arn), "EncryptionContext": JSONTree(context),
            ])
    }

    @Test(arguments: [
        "NotFoundException", "DisabledException", "AccessDeniedException", "KMSInvalidStateException",
        "InvalidCiphertextException", "IncorrectKeyException",
    ])
    func `is not asked again after a refusal`(code: String) throws {
        let caller = RecordedCaller(refused(code))
        #expect(throws: AWSError.permanent(code: code, status: 400)) {
            try kms(caller).decrypt([1], key: arn, context: context)
        }
        #expect(caller.requests.count == 1)
    }

    @Test(arguments: [
        ("ThrottlingException", 400), ("KMSInternalException", 500), ("DependencyTimeoutException", 503),
        ("KeyUnavailableException", 500),
    ])
    func `is asked again after what passes`(code: String, status: Int) throws {
        let caller = RecordedCaller(
            refused(code, status), .failure(.retryable(code: "Unreachable")), .http(200, "{\"Plaintext\":\"AQL/\"}"))
        #expect(try kms(caller).decrypt([1], key: arn, context: context) == [1, 2, 255])
        #expect(caller.requests.count == 3)
    }

    @Test func `is given up in the end`() throws {
        let caller = ScriptedCaller { _, _ in .failure(.retryable(code: "Unreachable")) }
        #expect(throws: AWSError.retryable(code: "Unreachable")) {
            try kms(caller).encrypt([1], key: arn, context: context)
        }
        #expect(caller.requests.withLock { $0.count } == JSONService.attemptsMax)
    }

    @Test(arguments: [
        "{}", "{\"KeyId\":\"k\"}", "{\"KeyId\":\"k\",\"CiphertextBlob\":\"!\"}", "{\"CiphertextBlob\":\"AQID\"}",
    ])
    func `is not believed without bytes and a key`(answer: String) throws {
        let caller = RecordedCaller(.http(200, answer))
        #expect(throws: AWSError.unknownOutcome(code: "UnreadableAnswer")) {
            try kms(caller).encrypt([1], key: arn, context: context)
        }
    }

    @Test(arguments: [
        ("https://kms.eu-central-1.amazonaws.com", true), ("http://127.0.0.1:4566", true), ("http://localhost:1", true),
        ("http://[::1]:1", true), ("http://192.0.2.1", false), ("http://127.0.0.1.example", false),
        ("http://localhost.example:1", false),
    ])
    func `gets data keys over TLS or on loopback only`(endpoint: String, isTaken: Bool) {
        let caller = RecordedCaller()
        if isTaken {
            #expect(throws: Never.self) { try kms(caller, endpoint: endpoint) }
        } else {
            #expect(throws: AWSError.permanent(code: KeyManagement.withoutTLS, status: 0)) {
                try kms(caller, endpoint: endpoint)
            }
        }
    }

    @Test func `has its own address where one is set`() throws {
        func endpoints(_ variables: [String: String]) -> AWSEndpoints {
            AWSEndpoints(
                AWSSurroundings(
                    variable: { variables[$0] }, file: { _ in nil },
                    perform: { _ throws(CurlError) in throw .closed }, clock: ServiceClock(HastyClock())))
        }
        #expect(
            try endpoints(["AWS_REGION": "cn-north-1"]).url(service: "kms")
                == "https://kms.cn-north-1.amazonaws.com.cn")
        #expect(
            try endpoints(["AWS_REGION": "r", "AWS_ENDPOINT_URL_KMS": "http://127.0.0.1:1/"]).url(service: "kms")
                == "http://127.0.0.1:1")
    }
}
