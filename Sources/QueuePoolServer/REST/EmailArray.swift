// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import Synchronization

// `POST /v1/pools/{pool}/emails` with a JSON array. The array is one request: once one of its emails failed, the later ones
// of its group fail too (I2), so that the sender can repeat them in order.

/// Sends the emails of an array.
struct EmailArray: Sendable {
    /// What becomes of the valid emails if others are not.
    enum Mode: String, Sendable {
        /// They are sent.
        case each
        /// Nothing is sent.
        case strict

        /// - Parameter text: the query's parameter.
        init(_ text: Substring?) throws(Problem) {
            guard let mode = text.map({ Mode(rawValue: String($0)) }) ?? .each else {
                throw .invalidField("mode", "'mode' is not known; it must be each or strict.")
            }
            self = mode
        }
    }

    /// Most emails of an array.
    static let emailsMax = 1_000
    /// Faults that a strict refusal tells.
    static let faultsToldMax = 10

    private typealias Reading = Result<OutgoingMessage, MessageReader.Refusal>

    let pool: Pool
    let ids: UniqueIDs

    /// Whether a body is an array rather than one email.
    static func isOne(_ body: [UInt8]) -> Bool {
        body.first { $0 != 0x20 && $0 != 0x09 && $0 != 0x0A && $0 != 0x0D } == UInt8(ascii: "[")
    }

    /// Sends the emails; answers when it is known what became of each.
    func handle(_ body: [UInt8], _ mode: Mode, reply: @escaping Reply) {
        let readings: [Reading]
        do throws(Problem) {
            let attributes = pool.attributes
            let bodies = pool.bodyRules
            readings = try EmailArray.elements(body).map {
                EmailSender.result(body[$0], attributes, ids, bodies: bodies)
            }
        } catch { return reply(error.answer) }
        if mode == .strict, let refusal = EmailArray.strictRefusal(readings) { return reply(refusal) }
        send(readings, reply)
    }

    /// Where the array's elements are; checks that all of it is JSON.
    private static func elements(_ body: [UInt8]) throws(Problem) -> [Range<Int>] {
        var count = 0
        let result: Result<[Range<Int>], JSONFault> = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            var found: [Range<Int>] = []
            do throws(JSONFault) {
                try json.beginArray()
                while try json.nextElement() {
                    let start = json.offset
                    try json.skipValue()
                    count += 1
                    if count <= emailsMax { found.append(start..<json.offset) }
                }
                try json.finish()
                return .success(found)
            } catch { return .failure(error) }
        }
        switch result {
        case .failure(let fault): throw .malformed(fault)
        case .success(let found):
            guard count <= emailsMax else {
                throw .invalidField(
                    "emails",
                    "The array has \(count) emails; at most \(emailsMax) are allowed. A stream (application/x-ndjson) may "
                        + "have any number.")
            }
            return found
        }
    }

    /// What is answered if not every email is valid.
    private static func strictRefusal(_ readings: [Reading]) -> Answer? {
        var faults: [(index: Int, problem: Problem)] = []
        var count = 0
        for (index, reading) in readings.enumerated() {
            guard case .failure(let refusal) = reading else { continue }
            count += 1
            if faults.count < faultsToldMax { faults.append((index, refusal.problem)) }
        }
        guard let first = faults.first else { return nil }
        let problem = Problem.invalidField(
            "[\(first.index)]",
            "\(count) of \(readings.count) emails are not valid, so none was sent; the first of them are in errors.")
        var json = JSONWriter(capacity: 512)
        json.beginObject()
        problem.writeMembers(to: &json)
        json.key("errors")
        json.beginArray()
        for (index, problem) in faults {
            json.beginObject()
            json.key("index")
            json.int(index)
            LineResult.refused(problem).writeMembers(to: &json)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Answer(status: problem.status, contentType: "application/problem+json", body: json.take())
    }

    private func send(_ readings: [Reading], _ reply: @escaping Reply) {
        let results = ArrayResults(count: readings.count, reply: reply)
        var request = SendRequest()
        for (index, reading) in readings.enumerated() {
            switch reading {
            case .failure(let refusal):
                if let hash = refusal.groupHash {
                    request.refuse(index, groupHash: hash, because: .invalid(code: refusal.problem.kind))
                }
                results.fill(index, .refused(refusal.problem))
            case .success(let message):
                request.add(message, at: index) { result, shard in
                    switch result {
                    case .success(let receipt): results.fill(index, .accepted(receipt, shard: shard.name))
                    case .failure(let error): results.fill(index, .refused(Problem(error, of: shard.name)))
                    }
                }
            }
        }
        pool.send(request)
    }
}

/// The results of an array: they come in any order, and are answered together.
private final class ArrayResults: Sendable {
    private let state: Mutex<(results: [LineResult?], missing: Int)>
    private let reply: Reply

    init(count: Int, reply: @escaping Reply) {
        state = Mutex((Array(repeating: nil, count: count), count))
        self.reply = reply
        if count == 0 { reply(ArrayResults.answer([])) }
    }

    func fill(_ index: Int, _ result: LineResult) {
        let all = state.withLock { state -> [LineResult?]? in
            state.results[index] = result
            state.missing -= 1
            return state.missing == 0 ? state.results : nil
        }
        if let all { reply(ArrayResults.answer(all)) }
    }

    private static func answer(_ results: [LineResult?]) -> Answer {
        var json = JSONWriter(capacity: 32 + 160 * results.count)
        json.beginObject()
        json.key("results")
        json.beginArray()
        for result in results {
            json.beginObject()
            result?.writeMembers(to: &json)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return Answer(status: 200, contentType: "application/json", body: json.take())
    }
}
