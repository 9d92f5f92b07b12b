// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolSQS
import Synchronization

// One remote queue, without a task a request. What is written, how answers are read and what an error means is the
// client's of the SQS protocol (QueuePoolSQS); here it is signed and sent.

/// One remote queue.
package struct QueueAddress: Hashable, Sendable {
    /// Base URL, without a slash at its end.
    package var endpoint: String
    package var region: String
    /// As the service gave it; sent as `QueueUrl`.
    package var queueURL: String

    package init(endpoint: String, region: String, queueURL: String) {
        self.endpoint = endpoint
        self.region = region
        self.queueURL = queueURL
    }
}

struct QueueClient: Sendable {
    let address: QueueAddress
    let caller: any AWSCaller
    /// The queue, not its host: all queues of a region have one host.
    let party: TransferParty
    let counts = RequestTally()

    init(address: QueueAddress, caller: any AWSCaller, party: TransferParty) {
        self.address = address
        self.caller = caller
        self.party = party
    }

    /// Performs a request.
    func perform(
        _ request: ClientRequest, timeoutMilliseconds: Int = 10_000,
        completion: @escaping @Sendable (Result<[UInt8], AWSError>) -> Void
    ) {
        let action = QueueAction(request.action)
        let entries = request.entryCount
        let request = AWSRequest(
            service: "sqs", region: address.region, url: address.endpoint + "/",
            headers: [("Content-Type", SQSAction.contentType), ("X-Amz-Target", request.action.target)],
            body: request.body, timeoutMilliseconds: timeoutMilliseconds,
            isLongPoll: request.action == .receiveMessage, party: party)
        caller.perform(request) { result in
            let result = result.flatMap(QueueClient.answer)
            if let action { counts.count(action, result, entries: entries) }
            completion(result)
        }
    }

    private static func answer(_ response: HTTPResponse) -> Result<[UInt8], AWSError> {
        if response.status == 200 { return .success(response.body) }
        return .failure(
            AWSError(
                ServiceFault(
                    status: response.status, queryError: response.header("x-amzn-query-error"), body: response.body)))
    }
}

/// What was asked of a queue, and with what outcome.
final class RequestTally: Sendable {
    private let counts = Mutex(QueueRequestCounts())

    func count(_ action: QueueAction, _ result: Result<[UInt8], AWSError>, entries: Int) {
        let outcome: QueueRequestOutcome =
            switch result {
            case .success: .done
            case .failure(.throttled): .throttled
            case .failure(.unknownOutcome): .unknown
            case .failure: .failed
            }
        counts.withLock { $0.count(action, outcome, carried: entries) }
    }

    /// Counts the messages of a receive's answer, which are known when it was read.
    func received(_ messages: Int) { counts.withLock { $0.carried(.receive, messages) } }

    var value: QueueRequestCounts { counts.withLock { $0 } }
}

extension QueueAction {
    /// `nil` for what no worker and no sender asks: attributes, purges.
    init?(_ action: SQSAction) {
        switch action {
        case .sendMessage, .sendMessageBatch: self = .send
        case .receiveMessage: self = .receive
        case .deleteMessage, .deleteMessageBatch: self = .delete
        case .changeMessageVisibility, .changeMessageVisibilityBatch: self = .visibility
        default: return nil
        }
    }
}

extension AWSError {
    /// Of a request as a whole.
    init(_ fault: ServiceFault) { self.init(fault, fault.meaning) }

    /// Of an entry with a receipt handle that is not lost.
    init(ofHandle fault: ServiceFault) { self.init(fault, fault.meaningForHandle) }

    private init(_ fault: ServiceFault, _ meaning: ServiceFault.Meaning) {
        self =
            switch meaning {
            case .throttled: .throttled(code: fault.name)
            case .retryable: .retryable(code: fault.name)
            case .unknownOutcome: .unknownOutcome(code: fault.name)
            case .permanent, .lostHandle: .permanent(code: fault.name, status: fault.status)
            }
    }

    /// Whether the request never left; its completion may come within the call then.
    var isOfUnsent: Bool {
        switch self {
        case .credentials, .cancelled: true
        default: false
        }
    }

    /// As everything above the shard border sees it.
    var asShardError: ShardError {
        switch self {
        case .throttled: .quotaExceeded(retryAfterMilliseconds: 1_000)
        case .retryable, .credentials: .unavailable(retryAfterMilliseconds: 1_000)
        case .unknownOutcome: .unknownOutcome
        case .permanent(let code, _): .refused(code: code)
        case .cancelled: .closed
        }
    }

    /// What it means for the messages of a request.
    var asRequestFailure: RequestFailure {
        switch self {
        case .throttled: .throttled
        case .retryable, .credentials: .retryable
        case .unknownOutcome, .cancelled: Mutation.lostAnswerIsFailure.isOn ? .retryable : .unknownOutcome
        case .permanent: .permanent(asShardError)
        }
    }
}
