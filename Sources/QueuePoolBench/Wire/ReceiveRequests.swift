// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The two requests of a receiving connection. A receive never changes, so its bytes are made once; a delete carries the
// receipt handles of the last receive and is written into a buffer that is used again.

/// Writes receive and delete requests for one queue.
struct ReceiveRequests {
    let receive: [UInt8]
    private let deleteHead: [UInt8]
    private let deleteStart: [UInt8]
    private static let entryStart: [StaticString] = [
        "{\"Id\":\"0\",\"ReceiptHandle\":\"", ",{\"Id\":\"1\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"2\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"3\",\"ReceiptHandle\":\"", ",{\"Id\":\"4\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"5\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"6\",\"ReceiptHandle\":\"", ",{\"Id\":\"7\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"8\",\"ReceiptHandle\":\"",
        ",{\"Id\":\"9\",\"ReceiptHandle\":\"",
    ]
    static let entriesMax = 10

    init(queue: String, headLines: String, waitSeconds: Int) {
        let content =
            "{\"QueueUrl\":\"\(queue)\",\"MaxNumberOfMessages\":10,\"WaitTimeSeconds\":\(waitSeconds),"
            + "\"MessageSystemAttributeNames\":[\"ApproximateReceiveCount\"]}"
        func head(_ operation: String) -> String {
            "POST / HTTP/1.1\r\n\(headLines)X-Amz-Target: AmazonSQS.\(operation)\r\n"
                + "Content-Type: application/x-amz-json-1.0\r\nContent-Length: "
        }
        receive = Array((head("ReceiveMessage") + "\(content.utf8.count)\r\n\r\n" + content).utf8)
        deleteHead = Array(head("DeleteMessageBatch").utf8)
        deleteStart = Array("{\"QueueUrl\":\"\(queue)\",\"Entries\":[".utf8)
    }

    /// Replaces `output` by a DeleteMessageBatch of these handles (1...10).
    func writeDelete(of handles: [UnsafeRawBufferPointer], to output: inout [UInt8]) {
        precondition((1...ReceiveRequests.entriesMax).contains(handles.count), "a batch has 1...10 entries")
        var size = deleteStart.count + 2
        for (index, handle) in handles.enumerated() {
            size += ReceiveRequests.entryStart[index].utf8CodeUnitCount + handle.count + 2
        }
        output.removeAll(keepingCapacity: true)
        output.append(contentsOf: deleteHead)
        appendDecimal(size, to: &output)
        output.append(contentsOf: [0x0D, 0x0A, 0x0D, 0x0A])
        output.append(contentsOf: deleteStart)
        for (index, handle) in handles.enumerated() {
            let start = ReceiveRequests.entryStart[index]
            output.append(contentsOf: UnsafeBufferPointer(start: start.utf8Start, count: start.utf8CodeUnitCount))
            output.append(contentsOf: handle)
            output.append(UInt8(ascii: "\""))
            output.append(UInt8(ascii: "}"))
        }
        output.append(UInt8(ascii: "]"))
        output.append(UInt8(ascii: "}"))
    }

    private func appendDecimal(_ value: Int, to output: inout [UInt8]) {
        var divisor = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            output.append(UInt8(48 + value / divisor % 10))
            divisor /= 10
        }
    }
}
