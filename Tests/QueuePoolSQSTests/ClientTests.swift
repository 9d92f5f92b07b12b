// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import Testing

@testable import QueuePoolSQS

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func text(_ request: ClientRequest) -> String { String(decoding: request.body, as: UTF8.self) }

private func md5(_ text: String) -> String { bytes(text).withUnsafeBytes { MD5Digest(of: $0).hex } }

@Suite struct `An error of the service` {
    @Test(arguments: [
        ("RequestThrottled", 403, ServiceFault.Meaning.throttled), ("ThrottlingException", 400, .throttled),
        ("com.amazonaws.sqs#OverLimit", 403, .throttled), ("X", 429, .throttled), ("X", 503, .retryable),
        ("ServiceUnavailable", 500, .retryable), ("InternalFailure", 500, .unknownOutcome),
        ("AWS.SimpleQueueService.NonExistentQueue", 400, .permanent), ("InvalidParameterValue", 400, .permanent),
    ])
    func `means one thing for the next attempt`(_ code: String, _ status: Int, _ meaning: ServiceFault.Meaning) {
        #expect(ServiceFault(code: code, status: status).meaning == meaning)
    }

    @Test(arguments: [
        ("ReceiptHandleIsInvalid", ServiceFault.Meaning.lostHandle), ("InvalidParameterValue", .lostHandle),
        ("com.amazonaws.sqs#InvalidParameterValueException", .lostHandle), ("MessageNotInflight", .lostHandle),
        ("AWS.SimpleQueueService.MessageNotInflight", .lostHandle), ("InvalidReceiptHandle", .lostHandle),
        ("RequestThrottled", .throttled), ("ServiceUnavailable", .retryable), ("InternalError", .permanent),
        ("Unknown", .permanent),
    ])
    func `says whether a handle is lost, whosever fault it is`(_ code: String, _ meaning: ServiceFault.Meaning) {
        for isSenderFault in [true, false] {
            #expect(ServiceFault(entryCode: code, isSenderFault: isSenderFault).meaningForHandle == meaning)
        }
    }

    @Test func `is known by the older code, or by its type, or by its status`() {
        let body = bytes(#"{"message":"m","__type":"com.amazonaws.sqs#QueueDoesNotExist"}"#)
        let old = "AWS.SimpleQueueService.NonExistentQueue"
        let byHeader = ServiceFault(status: 400, queryError: old + ";Sender", body: body)
        #expect(byHeader.code == old && byHeader.name == "NonExistentQueue")
        #expect(ServiceFault(status: 400, queryError: nil, body: body).name == "QueueDoesNotExist")
        for body in ["", "<html>", "{}", #"{"__type":7}"#] {
            #expect(ServiceFault(status: 502, queryError: nil, body: bytes(body)).code == "HTTP502")
        }
    }
}

@Suite struct `A client's request` {
    @Test func `names its queue and its entries by their places`() {
        let entries = [
            ClientRequest.HandleEntry(handle: "a\"", seconds: 0), ClientRequest.HandleEntry(handle: "b", seconds: 30),
        ]
        let delete = ClientRequest.delete(entries, from: "http://q/1/x.fifo")
        #expect(delete.action == .deleteMessageBatch)
        #expect(
            text(delete) == #"{"QueueUrl":"http://q/1/x.fifo","Entries":[{"Id":"0","ReceiptHandle":"a\""},"#
                + #"{"Id":"1","ReceiptHandle":"b"}]}"#)
        let change = ClientRequest.changeVisibility(entries, in: "x.fifo")
        #expect(change.action == .changeMessageVisibilityBatch)
        #expect(
            text(change) == #"{"QueueUrl":"x.fifo","Entries":[{"Id":"0","ReceiptHandle":"a\"","VisibilityTimeout":0},"#
                + #"{"Id":"1","ReceiptHandle":"b","VisibilityTimeout":30}]}"#)
    }

    @Test func `for messages asks for all that is known of them`() throws {
        let request = ClientRequest.receive(
            limit: 7, visibilitySeconds: 40, waitSeconds: 20, attemptID: "try-1", from: "x.fifo")
        let read = try text(request).parsed(ReceiveMessageRequest.init)
        #expect(request.action == .receiveMessage && read.queue == "x.fifo" && read.max == 7)
        #expect(read.visibilitySeconds == 40 && read.waitSeconds == 20 && read.attemptID == "try-1")
        #expect(read.systemAttributes == .all && read.attributes.isAll)
    }

    @Test func `to send carries a message's group, ids and attributes, of either kind`() {
        let attributes = [
            MessageAttribute(name: "n", text: "v"), MessageAttribute(name: "b", dataType: "Binary", value: [0, 255]),
        ]
        let one = ClientRequest.send(
            body: bytes("hi"), group: "g", deduplicationID: "d", attributes: attributes, to: "x.fifo")
        let members =
            #""MessageBody":"hi","MessageGroupId":"g","MessageDeduplicationId":"d","#
            + #""MessageAttributes":{"n":{"DataType":"String","StringValue":"v"},"#
            + #""b":{"DataType":"Binary","BinaryValue":"AP8="}}"#
        #expect(one.action == .sendMessage && text(one) == #"{"QueueUrl":"x.fifo","# + members + "}")
        let record = bytes("hi").withUnsafeBytes {
            MessageRecord(group: bytes("g"), deduplicationID: bytes("d"), body: $0, attributes: attributes)
        }
        let batch = ClientRequest.send([OutgoingMessage(record: record, groupHash: 1)], to: "x.fifo")
        #expect(batch.action == .sendMessageBatch)
        #expect(text(batch) == #"{"QueueUrl":"x.fifo","Entries":[{"Id":"0","# + members + "}]}")
    }

    @Test func `about a queue names it`() {
        #expect(text(.purge("x.fifo")) == #"{"QueueUrl":"x.fifo"}"#)
        #expect(text(.attributes(ofQueue: "x.fifo")) == #"{"QueueUrl":"x.fifo","AttributeNames":["All"]}"#)
    }
}

@Suite struct `An answer to a client` {
    @Test func `about handles says of each whether it is done, lost, failed, or not known`() throws {
        let answer = bytes(
            #"{"Failed":[{"Id":"3","Code":"ReceiptHandleIsInvalid","SenderFault":true},"#
                + #"{"Id":"0","Code":"InternalError"},{"Id":"9","Code":"X"},{"Id":"x"}],"Successful":[{"Id":"2"}]}"#)
        let answers = try BatchAnswers.handles(answer, count: 4)
        let fault = ServiceFault(entryCode: "InternalError", isSenderFault: false)
        #expect(answers == [.failed(fault), .unknown, .done, .lost])
        #expect(try BatchAnswers.handles(bytes("{}"), count: 2) == [.unknown, .unknown])
    }

    @Test(arguments: ["", "{", "[]", #"{"Failed":7}"#, #"{"Successful":[{"Id":7}]}"#])
    func `that is no answer is a fault, never a success`(_ text: String) {
        #expect(throws: JSONFault.self) { try BatchAnswers.handles(bytes(text), count: 1) }
    }

    private func message(_ body: String, group: String = "g", digestOf text: String? = nil) -> String {
        #"{"MessageId":"id-\#(body)","ReceiptHandle":"h","Body":"\#(body)","MD5OfBody":"\#(md5(text ?? body))","#
            + #""Attributes":{"MessageGroupId":"\#(group)","ApproximateReceiveCount":"0"}}"#
    }

    private func read(_ messages: [String]) throws -> (bodies: [String], damaged: [String]) {
        let answer = bytes(#"{"Messages":["# + messages.joined(separator: ",") + "]}")
        let found = try AnsweredMessages.read(answer) { entry, _ in String(decoding: entry.body, as: UTF8.self) }
        return (found.messages, found.damaged)
    }

    @Test func `with messages leaves out what its digest does not fit, and what is behind it in its group`() throws {
        let (bodies, damaged) = try read([
            message("a1", group: "a"), message("a2", group: "a", digestOf: "x"), message("a3", group: "a"),
            message("b1", group: "b"), message("c1", group: ""),
        ])
        #expect(bodies == ["a1", "b1"] && damaged == ["id-a2", "id-c1"])
    }

    @Test func `with a message checks the digest of its attributes`() throws {
        func withAttribute(_ value: String) -> String {
            let digest = MD5Digest(of: [MessageAttribute(name: "n", text: "v")])?.hex ?? ""
            return message("a").dropLast() + #","MD5OfMessageAttributes":"\#(digest)","MessageAttributes":"#
                + #"{"n":{"DataType":"String","StringValue":"\#(value)"}}}"#
        }
        #expect(try read([withAttribute("v")]).bodies == ["a"])
        #expect(try read([withAttribute("w")]).damaged == ["id-a"])
    }

    @Test func `counts a delivery at least once, and has no time that the service did not say`() throws {
        let answer = bytes(#"{"Messages":["# + message("a") + "]}")
        let found = try AnsweredMessages.read(answer) { entry, _ in (entry.receiveCount, entry.firstReceivedAt) }
        #expect(found.messages.first?.0 == 1 && found.messages.first?.1 == nil)
    }

    @Test func `with a dead letter says which queue it came from, if the service does`() throws {
        let moved = message("a").replacing(
            #""ApproximateReceiveCount""#, with: #""DeadLetterQueueSourceArn":"arn:x","ApproximateReceiveCount""#)
        let answer = bytes(#"{"Messages":["# + moved + "," + message("b", group: "h") + "]}")
        let found = try AnsweredMessages.read(answer) { entry, _ in entry.sourceARN ?? "none" }
        #expect(found.messages == ["arn:x", "none"])
    }

    @Test func `without messages has none`() throws {
        #expect(try AnsweredMessages.read(bytes("{}")) { entry, _ in entry.id }.messages == [])
    }

    @Test func `about a queue has its attributes`() throws {
        let answer = bytes(#"{"Other":{},"Attributes":{"VisibilityTimeout":"30","FifoQueue":"true"}}"#)
        #expect(try QueueAnswers.attributes(answer) == ["VisibilityTimeout": "30", "FifoQueue": "true"])
    }
}
