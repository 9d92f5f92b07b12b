// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
public import QueuePoolJSON

/// One entry of the answer to a batch.
public struct BatchEntryAnswer: Sendable {
    /// -1 if it is none of ours.
    public internal(set) var position = -1
    public internal(set) var messageID: MessageID?
    public internal(set) var sequence = ""
    public internal(set) var bodyMD5 = ""
    public internal(set) var attributesMD5: String?
    /// Set if the entry failed.
    public internal(set) var fault: ServiceFault?
}

/// What became of an entry with a receipt handle.
public enum HandleAnswer: Hashable, Sendable {
    case done
    /// The handle is no longer that of a message in flight.
    case lost
    /// Not carried out for another reason, which says nothing of the handle.
    case failed(ServiceFault)
    /// The answer does not mention it: carried out or not.
    case unknown
}

/// Answers to batches.
public enum BatchAnswers {
    /// Reads `Successful` and `Failed`; entries' ids are their positions.
    public static func read(_ body: [UInt8]) throws(JSONFault) -> [BatchEntryAnswer] {
        try ClientJSON.parse(body) { (json) throws(JSONFault) in
            var found: [BatchEntryAnswer] = []
            try json.beginObject()
            while let key = try json.nextKey() {
                let isFailure = key.equals("Failed")
                guard isFailure || key.equals("Successful") else {
                    try json.skipValue()
                    continue
                }
                try json.beginArray()
                while try json.nextElement() { found.append(try entry(&json, isFailure)) }
            }
            return found
        }
    }

    /// Reads the answer to a batch of deletes or changes of visibility: one for each entry, in order.
    public static func handles(_ body: [UInt8], count: Int) throws(JSONFault) -> [HandleAnswer] {
        // An absent list is an empty one, so an entry in neither list was forgotten: a success is told as one, not left out.
        var answers = [HandleAnswer](repeating: .unknown, count: count)
        for entry in try read(body) where answers.indices.contains(entry.position) {
            answers[entry.position] =
                entry.fault.map { $0.meaningForHandle == .lostHandle ? .lost : .failed($0) } ?? .done
        }
        return answers
    }

    private static func entry(_ json: inout JSONReader, _ isFailure: Bool) throws(JSONFault) -> BatchEntryAnswer {
        var entry = BatchEntryAnswer()
        var code: String?
        var isSenderFault = false
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("Id") {
                entry.position = Int(try json.readString().text) ?? -1
            } else if key.equals("MessageId") {
                entry.messageID = MessageID(try json.readString().text)
            } else if key.equals("SequenceNumber") {
                entry.sequence = try json.readString().text
            } else if key.equals("MD5OfMessageBody") {
                entry.bodyMD5 = try json.readString().text
            } else if key.equals("MD5OfMessageAttributes") {
                entry.attributesMD5 = try json.readString().text
            } else if key.equals("Code") {
                code = try json.readString().text
            } else if key.equals("SenderFault") {
                isSenderFault = try json.readBool()
            } else {
                try json.skipValue()
            }
        }
        if isFailure { entry.fault = ServiceFault(entryCode: code ?? "Unknown", isSenderFault: isSenderFault) }
        return entry
    }
}

extension BatchEntryAnswer {
    /// What became of a message of SendMessageBatch.
    ///
    /// A digest that is not ours means that what is stored is not what was sent. Sent again, it is a duplicate of it; so
    /// the sender is told that nobody knows.
    public func outcome(of message: OutgoingMessage) -> EntryOutcome {
        if let fault {
            switch fault.meaning {
            case .throttled: return .throttled
            case .retryable: return .retryable
            case .unknownOutcome: return .unknown
            case .permanent, .lostHandle: return .permanent(.refused(code: fault.name))
            }
        }
        guard let messageID else { return .unknown }
        let isWhole = message.record.withView { view in
            (view.bodyMD5 ?? MD5Digest(of: view.body)).hex == bodyMD5
                && MD5Digest(of: view.attributes)?.hex == attributesMD5
        }
        guard isWhole || Mutation.digestIsIgnored.isOn else { return .unknown }
        return .stored(
            SendReceipt(
                messageID: messageID, sequence: SequenceNumber(rawValue: 0), isDuplicate: false,
                remoteSequence: RemoteText(sequence)))
    }
}

/// Answers about queues.
public enum QueueAnswers {
    /// Reads the answer of GetQueueAttributes.
    public static func attributes(_ body: [UInt8]) throws(JSONFault) -> [String: String] {
        try ClientJSON.parse(body) { (json) throws(JSONFault) in
            var texts: [String: String] = [:]
            try json.beginObject()
            while let key = try json.nextKey() {
                guard key.equals("Attributes") else {
                    try json.skipValue()
                    continue
                }
                try json.beginObject()
                while let key = try json.nextKey() {
                    let name = key.text
                    texts[name] = try json.readString().text
                }
            }
            return texts
        }
    }
}
