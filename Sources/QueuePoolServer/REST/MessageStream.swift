// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

// `POST /v1/pools/{pool}/messages` and `.../emails` as NDJSON: a message or an email a line in, a result a line out, in order, while lines still come.
// All lines of one piece of the body that go to one shard enter its batcher together. A line that is wrong, or that its
// shard does not take, gets its own error; the later lines of its group fail with it, so that the sender can repeat them
// in order (I2), and other groups go on. A line whose group could not be read, because it is no JSON or too long, holds
// nobody up. Lines that were read when a connection breaks are sent; their results are lost with it, and the sender
// repeats them with the same deduplication ids.

struct MessageStream: Sendable {
    /// Bytes of one line: the largest message with every byte escaped does not fit, but any sensible one does. Messages with
    /// larger bodies come one by one.
    static let lineBytesMax = 2 << 20
    private static let underWayMax = 8_192
    /// Results that are written in one go, so that no other stream waits for their encoding.
    private static let writtenMax = 1_024

    let pool: Pool
    let ids: UniqueIDs
    let budget: ByteBudget
    var lines = Lines.messages

    /// What a line holds; either way it becomes one message.
    enum Lines: Sendable {
        case messages
        case emails
    }

    /// - Parameter channel: closed when the caller is no longer let in.
    func response(_ request: Request, caller: Caller, channel: (any Channel)?) -> Response {
        let body = request.body
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson"],
            body: ResponseBody { writer in
                let results = LineResults(underWayMax: MessageStream.underWayMax)
                let stay = caller.pass.map { CallerStay($0) }
                defer { stay?.end() }
                // There may be no next line for long, and the client is to see that there is no use in one.
                stay?.onOut { channel?.close(promise: nil) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await read(body, results, caller) }
                    do {
                        while let ready = await results.next(MessageStream.writtenMax) {
                            try await writer.write(MessageStream.encode(ready))
                        }
                    } catch {
                        results.abandon()
                        throw error
                    }
                    try await group.waitForAll()
                }
                try await writer.finish(nil)
            })
    }

    private func read(_ body: RequestBody, _ results: LineResults, _ caller: Caller) async throws {
        defer { results.end() }
        let order = RequestOrder()
        var splitter = LineSplitter(lineBytesMax: MessageStream.lineBytesMax)
        var held = HeldBytes(of: budget)
        for try await piece in body {
            // What came in by a key that is out is not sent.
            guard !caller.isOut else { return }
            splitter.append(piece)
            await send(&splitter, results, order) { $0.next() }
            guard held.set(splitter.bytesKept) else {
                // Nothing after this line is read: the answer ends with it.
                return results.fill(results.open(line: splitter.nextNumber), .refused(.noRoom))
            }
            guard await results.waitForRoom() else { return }
        }
        await send(&splitter, results, order) { $0.last() }
    }

    /// Sends every line that is there, grouped by shard.
    private func send(
        _ splitter: inout LineSplitter, _ results: LineResults, _ order: RequestOrder,
        _ next: (inout LineSplitter) -> LineSplitter.Line?
    ) async {
        let attributes = pool.attributes
        let bodies = pool.bodyRules
        var request = SendRequest(order: order)
        while let found = next(&splitter) {
            let position = results.open(line: found.number)
            do throws(MessageReader.Refusal) {
                let message = try message(found.content, attributes, bodies)
                request.add(message, at: position) { result, shard in
                    switch result {
                    case .success(let receipt): results.fill(position, .accepted(receipt, shard: shard.name))
                    case .failure(let error): results.fill(position, .refused(Problem(error, of: shard.name)))
                    }
                }
            } catch {
                if let hash = error.groupHash {
                    request.refuse(position, groupHash: hash, because: .invalid(code: error.problem.kind))
                }
                results.fill(position, .refused(error.problem))
            }
        }
        // Nothing of the next lines is sent before bodies of these are stored: it would overtake them (I2).
        await withCheckedContinuation { continuation in pool.send(request) { continuation.resume() } }
    }

    private func message(
        _ line: LineSplitter.Line.Content, _ attributes: QueueAttributes, _ bodies: BodyRules?
    ) throws(MessageReader.Refusal) -> OutgoingMessage {
        switch line {
        case .tooLong:
            // Its group is not known: it was not read.
            throw MessageReader.Refusal(
                problem: Problem(
                    "line-too-long", status: 413, title: "The line is too long",
                    detail: "A line may have at most \(MessageStream.lineBytesMax) bytes."))
        case .text(let text):
            let result: Result<OutgoingMessage, MessageReader.Refusal> = text.withUnsafeReadableBytes { bytes in
                do throws(MessageReader.Refusal) {
                    return .success(
                        try lines == .messages
                            ? MessageReader.line(bytes, attributes, ids, bodies: bodies)
                            : EmailSender.message(bytes, attributes, ids, bodies: bodies))
                } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
    }

    private static func encode(_ results: [LineResults.Numbered]) -> ByteBuffer {
        var json = JSONWriter(capacity: 160 * results.count)
        for (line, result) in results {
            json.beginObject()
            json.key("line")
            json.int(line)
            result.writeMembers(to: &json)
            json.endObject()
            json.endLine()
        }
        return ByteBuffer(bytes: json.take())
    }
}
