// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import QueuePoolCore
import QueuePoolSQS

// The SQS protocol's older spelling, for clients from before November 2023 and for those that people write themselves.
// Requests are turned into those of the JSON protocol and carried out by the one service.

/// The Query protocol.
struct QueryService: Sendable {
    let sqs: SQSService

    /// Whether a request without X-Amz-Target is one of this protocol: a form, or one whose URL names an action.
    static func takes(_ request: Request) -> Bool {
        if request.method == .post, Routes.mediaType(request) == "application/x-www-form-urlencoded" { return true }
        return request.uri.query?.split(separator: "&").contains { $0.hasPrefix("Action=") } == true
    }

    /// Carries out one request.
    /// - Parameters:
    ///   - path: of the URL: `/`, or that of a queue.
    ///   - query: parameters in the URL.
    ///   - body: parameters in the body.
    func handle(
        path: String, query: String?, body: [UInt8], trace: [UInt8]?, life: ConnectionLife, caller: Caller,
        reply: @escaping Reply
    ) {
        do throws(SQSError) {
            let request = try read(path, query, body)
            request.body.withUnsafeBytes {
                sqs.handle(request.action, body: $0, trace: trace, life: life, caller: caller, via: .query) { answer in
                    reply(QueryService.translated(answer, of: request.action))
                }
            }
        } catch { reply(QueryService.answer(error)) }
    }

    private func read(_ path: String, _ query: String?, _ body: [UInt8]) throws(SQSError) -> QueryRequest {
        guard SQSPath.isOne(path.utf8) else { throw .invalidAddress(path) }
        let queue = path.split(separator: "/").last.map { String($0) }
        var form = Array((query ?? "").utf8)
        if !form.isEmpty, !body.isEmpty { form.append(UInt8(ascii: "&")) }
        form += body
        let outcome = form.withUnsafeBytes { bytes -> Result<QueryRequest, SQSError> in
            do throws(SQSError) {
                return .success(try QueryRequest.read(form: bytes, queue: queue))
            } catch {
                return .failure(error)
            }
        }
        return try outcome.get()
    }

    // MARK: - Answers

    static func answer(_ error: SQSError) -> Answer { translated(SQSService.answer(error), of: nil) }

    /// The JSON protocol's answer in XML. The header with the error's code stays: it is what answers are counted by.
    private static func translated(_ answer: Answer, of action: SQSAction?) -> Answer {
        var answer = answer
        let id = answer.headers.first { $0.name == "x-amzn-RequestId" }?.value ?? ""
        answer.contentType = QueryAnswer.contentType
        if answer.status == 200, let action, let xml = QueryAnswer.xml(action, json: answer.body, requestID: id) {
            answer.body = xml
            return answer
        }
        let header = answer.headers.first { $0.name == "x-amzn-query-error" }?.value ?? ""
        let error = QueryAnswer.error(json: answer.body, header: header)
        (answer.status, answer.body) = QueryAnswer.error(error, requestID: id)
        return answer
    }
}

extension SQSError {
    static func invalidAddress(_ path: String) -> SQSError {
        SQSError(.invalidAddress, "The address \(sized(path)) is not valid for this endpoint.")
    }

    /// What REST says of a body that could not be read, in this protocol's words.
    static func refusedBody(_ problem: Problem, limit: Int) -> SQSError {
        problem == .noRoom ? SQSError(.serviceUnavailable, problem.detail) : .requestTooLarge(limit: limit)
    }

    static func requestTooLarge(limit: Int) -> SQSError {
        SQSError(.requestTooLarge, "The request's body may have at most \(limit) bytes.")
    }
}
