// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

// `POST /v1/pools/{pool}/messages` as NDJSON: a message a line in, a result a line out, in order, while lines still come.
// All lines of one piece of the body that go to one shard enter its batcher together. A line that is wrong gets its own
// error and stops nothing. Lines that were read when a connection breaks are sent; their results are lost with it, and
// the sender repeats them with the same deduplication ids.

struct MessageStream: Sendable {
    /// Bytes of one line: the largest message with every byte escaped does not fit, but any sensible one does.
    static let lineBytesMax = 2 << 20
    private static let underWayMax = 8_192

    let pool: Pool
    let ids: UniqueIDs

    func response(_ request: Request) -> Response {
        let body = request.body
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson"],
            body: ResponseBody { writer in
                let results = LineResults(underWayMax: MessageStream.underWayMax)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask { try await read(body, results) }
                    do {
                        while let (line, ready) = await results.next() {
                            try await writer.write(MessageStream.encode(ready, from: line))
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

    private func read(_ body: RequestBody, _ results: LineResults) async throws {
        defer { results.end() }
        var splitter = LineSplitter(lineBytesMax: MessageStream.lineBytesMax)
        for try await piece in body {
            splitter.append(piece)
            send(&splitter, results) { $0.next() }
            guard await results.waitForRoom() else { return }
        }
        send(&splitter, results) { $0.last() }
    }

    /// Sends every line that is there, grouped by shard.
    private func send(
        _ splitter: inout LineSplitter, _ results: LineResults, _ next: (inout LineSplitter) -> LineSplitter.Line?
    ) {
        let attributes = pool.attributes
        var batches: [(shard: PoolShard, entries: [BatcherEntry<SendTicket>])] = []
        while let found = next(&splitter) {
            let line = results.open()
            do throws(Problem) {
                let message = try message(found, attributes)
                let shard = pool.shard(ofGroupHash: message.groupHash)
                let entry = BatcherEntry<SendTicket>(
                    message: message,
                    ticket: SendTicket { result in
                        switch result {
                        case .success(let receipt): results.fill(line, .accepted(receipt, shard: shard.name))
                        case .failure(let error): results.fill(line, .refused(Problem(error)))
                        }
                    })
                if let place = batches.firstIndex(where: { $0.shard === shard }) {
                    batches[place].entries.append(entry)
                } else {
                    batches.append((shard, [entry]))
                }
            } catch { results.fill(line, .refused(error)) }
        }
        for batch in batches { batch.shard.sender.send(batch.entries) }
    }

    private func message(
        _ line: LineSplitter.Line, _ attributes: QueueAttributes
    ) throws(Problem) -> OutgoingMessage {
        switch line {
        case .tooLong:
            throw Problem(
                "line-too-long", status: 413, title: "The line is too long",
                detail: "A line may have at most \(MessageStream.lineBytesMax) bytes.")
        case .text(let text):
            let result: Result<OutgoingMessage, Problem> = text.withUnsafeReadableBytes { bytes in
                do throws(Problem) { return .success(try MessageReader.message(bytes, attributes, ids)) } catch {
                    return .failure(error)
                }
            }
            return try result.get()
        }
    }

    private static func encode(_ results: [LineResult], from firstLine: Int) -> ByteBuffer {
        var json = JSONWriter(capacity: 160 * results.count)
        for (offset, result) in results.enumerated() {
            json.beginObject()
            json.key("line")
            json.int(firstLine + offset)
            switch result {
            case .accepted(let receipt, let shard): MessageSender.write(receipt, shard, to: &json)
            case .refused(let problem):
                json.key("error")
                json.beginObject()
                problem.writeMembers(to: &json)
                json.endObject()
            }
            json.endObject()
            json.endLine()
        }
        return ByteBuffer(bytes: json.take())
    }
}
