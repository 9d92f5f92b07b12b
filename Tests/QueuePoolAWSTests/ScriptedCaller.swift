// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolSQS
import QueuePoolTestSupport
import Synchronization

@testable import QueuePoolAWS

/// A service that answers what it is told to, and keeps what it was asked.
final class ScriptedCaller: AWSCaller {
    typealias Answer = @Sendable (_ action: String, _ body: [String: Any]) -> Result<HTTPResponse, AWSError>

    private let answer: Answer
    let requests = Mutex<[(action: String, body: [UInt8])]>([])

    init(_ answer: @escaping Answer) { self.answer = answer }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse {
        try await withCheckedContinuation { done in perform(request) { done.resume(returning: $0) } }.get()
    }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        let target = request.headers.first { $0.name == "X-Amz-Target" }?.value ?? ""
        let action = target.replacingOccurrences(of: "AmazonSQS.", with: "")
        requests.withLock { $0.append((action, request.body)) }
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body)) as? [String: Any]) ?? [:]
        completion(answer(action, body))
    }
}

func ok(_ body: [String: Any]) -> Result<HTTPResponse, AWSError> {
    let bytes = (try? JSONSerialization.data(withJSONObject: body)) ?? Data()
    return .success(HTTPResponse(status: 200, headers: [], body: Array(bytes)))
}

func refusal(_ code: String, _ status: Int = 400) -> Result<HTTPResponse, AWSError> {
    .success(
        HTTPResponse(status: status, headers: [], body: Array("{\"__type\":\"com.amazonaws.sqs#\(code)\"}".utf8)))
}

func shard(_ caller: any AWSCaller, clock: ManualClock = ManualClock()) -> QueueShard {
    QueueShard(
        name: "a-0000.fifo",
        address: QueueAddress(endpoint: "http://127.0.0.1:1", region: "eu-central-1", queueURL: "http://q/0/x.fifo"),
        attributes: QueueAttributes(), caller: caller, clock: clock)
}

func message(_ group: String, _ body: String, attributes: [MessageAttribute] = []) -> OutgoingMessage {
    let record = Array(body.utf8).withUnsafeBytes {
        MessageRecord(
            group: Array(group.utf8), deduplicationID: Array("d-\(body)".utf8), body: $0, attributes: attributes)
    }
    return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
}

func md5(_ text: String) -> String { Array(text.utf8).withUnsafeBytes { MD5Digest(of: $0).hex } }

let uuid = "0f0e0d0c-0b0a-4908-8706-050403020100"
