// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization

@testable import QueuePoolAWS

/// Answers from a list, and remembers what was asked.
final class FakeCaller: AWSCaller {
    struct Call: Sendable {
        let action: String
        let body: JSONTree
    }

    private struct State {
        var answers: [Result<HTTPResponse, AWSError>]
        var calls: [Call] = []
    }

    private let state: Mutex<State>

    init(_ answers: Result<HTTPResponse, AWSError>...) { state = Mutex(State(answers: answers)) }

    init(answers: [Result<HTTPResponse, AWSError>]) { state = Mutex(State(answers: answers)) }

    var calls: [Call] { state.withLock { $0.calls } }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { try answer(request).get() }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        completion(answer(request))
    }

    private func answer(_ request: AWSRequest) -> Result<HTTPResponse, AWSError> {
        let target = request.headers.first { $0.name == "X-Amz-Target" }?.value ?? ""
        let call = Call(
            action: target.split(separator: ".").last.map(String.init) ?? "",
            body: (try? JSONTree(request.body)) ?? .null)
        return state.withLock { state in
            state.calls.append(call)
            return state.answers.isEmpty ? .failure(.cancelled) : state.answers.removeFirst()
        }
    }
}

extension Result<HTTPResponse, AWSError> {
    static func answer(_ status: Int = 200, _ body: JSONTree) -> Self {
        .success(HTTPResponse(status: status, headers: [], body: body.bytes))
    }

    static func refusal(_ type: String, _ more: [String: JSONTree] = [:]) -> Self {
        .answer(400, .object(more.merging(["__type": .string("com.amazonaws#" + type)]) { $1 }))
    }
}

func service(_ caller: FakeCaller) -> JSONService {
    JSONService(
        caller: caller, service: "dynamodb", targetPrefix: "DynamoDB_20120810", region: "eu-central-1",
        endpoint: "http://127.0.0.1:1", clock: HastyClock())
}
