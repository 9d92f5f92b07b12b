// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization

@testable import QueuePoolAWS

/// Answers from a list, within the call, and keeps whole requests.
final class RecordedCaller: AWSCaller {
    private struct State {
        var answers: [Result<HTTPResponse, AWSError>]
        var requests: [AWSRequest] = []
    }

    private let state: Mutex<State>

    init(_ answers: Result<HTTPResponse, AWSError>...) { state = Mutex(State(answers: answers)) }

    var requests: [AWSRequest] { state.withLock { $0.requests } }
    /// `METHOD URL` of each.
    var lines: [String] { requests.map { "\($0.method) \($0.url)" } }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { try answer(request).get() }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        completion(answer(request))
    }

    private func answer(_ request: AWSRequest) -> Result<HTTPResponse, AWSError> {
        state.withLock { state in
            state.requests.append(request)
            return state.answers.isEmpty
                ? .failure(.permanent(code: "Unasked", status: 0)) : state.answers.removeFirst()
        }
    }
}

extension Result<HTTPResponse, AWSError> {
    static func http(_ status: Int, _ body: String = "", _ headers: [(name: String, value: String)] = []) -> Self {
        .success(HTTPResponse(status: status, headers: headers, body: Array(body.utf8)))
    }

    /// As S3 refuses.
    static func s3(_ status: Int, _ code: String) -> Self {
        .http(status, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>\(code)</Code><Key>k</Key></Error>")
    }
}

extension AWSRequest {
    func header(_ name: String) -> String? { headers.first { $0.name.lowercased() == name.lowercased() }?.value }
}

func s3(
    _ caller: any AWSCaller, region: String = "eu-central-1", endpoint: String = "http://127.0.0.1:1"
) -> S3Service {
    S3Service(caller: caller, region: region, endpoint: endpoint, clock: HastyClock())
}
