// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

/// Which queues may name this one as their dead-letter queue.
public struct RedriveAllowPolicy: Hashable, Sendable {
    public enum Permission: String, Hashable, Sendable {
        case allowAll
        case denyAll
        case byQueue
    }

    public var permission = Permission.allowAll
    /// Names of the queues, for `byQueue`.
    public var sources: [String] = []

    public func allows(source queue: String) -> Bool {
        switch permission {
        case .allowAll: true
        case .denyAll: false
        case .byQueue: sources.contains(queue)
        }
    }
}

/// Attributes whose text is JSON.
enum PolicyText {
    static func isObject(_ text: String) -> Bool {
        Array(text.utf8).withRaw { raw in
            var json = JSONReader(raw)
            do throws(JSONFault) {
                guard json.peekKind() == .object else { return false }
                try json.skipValue()
                try json.finish()
                return true
            } catch {
                return false
            }
        }
    }

    /// - Returns: `nil` for an empty text; else the policy, and its text in the one form that is stored and shown.
    static func redrive(
        _ text: String, queue: String
    ) throws(SQSError) -> (policy: RedrivePolicy, text: String)? {
        guard !text.isEmpty else { return nil }
        let members: (arn: String?, count: String?)
        do throws(JSONFault) {
            members = try Array(text.utf8).withRaw(redriveMembers)
        } catch {
            throw invalidRedrive(text, "Redrive policy is not a valid JSON map.")
        }
        guard let arn = members.arn else {
            throw invalidRedrive(text, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
        }
        guard let count = members.count else {
            throw invalidRedrive(text, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")
        }
        guard let maximum = Int(count), (1...1_000).contains(maximum) else {
            throw invalidRedrive(
                text,
                "Invalid value for maxReceiveCount, valid values are from 1 to 1000 both inclusive.")
        }
        guard let name = QueueReference.name(inARN: arn) else {
            throw invalidRedrive(text, "Invalid value for deadLetterTargetArn.")
        }
        guard name.hasSuffix(".fifo") else {
            throw invalidRedrive(text, "Dead-letter queue must be same type of queue as the source.")
        }
        guard name != queue else {
            throw invalidRedrive(text, "A queue cannot be its own dead-letter queue.")
        }
        return (RedrivePolicy(deadLetterQueue: name, maxReceiveCount: maximum), redriveText(arn: arn, maximum))
    }

    /// The text of a redrive policy as GetQueueAttributes shows it: `maxReceiveCount` is a number.
    static func redriveText(arn: String, _ maxReceiveCount: Int) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.key("deadLetterTargetArn")
        json.string(arn)
        json.key("maxReceiveCount")
        json.int(maxReceiveCount)
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// An empty text is the policy that allows all.
    static func redriveAllow(_ text: String) throws(SQSError) -> RedriveAllowPolicy {
        guard !text.isEmpty else { return RedriveAllowPolicy() }
        let members: (permission: String?, arns: [String])
        do throws(JSONFault) {
            members = try Array(text.utf8).withRaw(redriveAllowMembers)
        } catch {
            throw invalidRedriveAllow(text)
        }
        guard let permission = members.permission.flatMap(RedriveAllowPolicy.Permission.init(rawValue:)),
            permission == .byQueue ? (1...10).contains(members.arns.count) : members.arns.isEmpty
        else { throw invalidRedriveAllow(text) }
        let sources = members.arns.compactMap(QueueReference.name(inARN:))
        guard sources.count == members.arns.count else { throw invalidRedriveAllow(text) }
        return RedriveAllowPolicy(permission: permission, sources: sources)
    }

    private static func redriveMembers(
        _ raw: UnsafeRawBufferPointer
    ) throws(JSONFault) -> (arn: String?, count: String?) {
        var json = JSONReader(raw)
        var arn: String?
        var count: String?
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("deadLetterTargetArn") {
                arn = try json.readString().text
            } else if key.equals("maxReceiveCount") {
                // Both 3 and "3" are in use.
                count =
                    json.peekKind() == .string
                    ? try json.readString().text : String(decoding: try json.readNumberText(), as: UTF8.self)
            } else {
                try json.skipValue()
            }
        }
        try json.finish()
        return (arn, count)
    }

    private static func redriveAllowMembers(
        _ raw: UnsafeRawBufferPointer
    ) throws(JSONFault) -> (permission: String?, arns: [String]) {
        var json = JSONReader(raw)
        var permission: String?
        var arns: [String] = []
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("redrivePermission") {
                permission = try json.readString().text
            } else if key.equals("sourceQueueArns") {
                try json.beginArray()
                while try json.nextElement() { arns.append(try json.readString().text) }
            } else {
                try json.skipValue()
            }
        }
        try json.finish()
        return (permission, arns)
    }

    private static func invalidRedrive(_ text: String, _ reason: String) -> SQSError {
        .invalid("RedrivePolicy", text, reason)
    }

    private static func invalidRedriveAllow(_ text: String) -> SQSError {
        .invalid(
            "RedriveAllowPolicy", text,
            "It must have redrivePermission allowAll, denyAll or byQueue, and for byQueue 1 to 10 sourceQueueArns.")
    }
}

extension [UInt8] {
    /// `withUnsafeBytes` with the error's type kept.
    func withRaw<R, E: Error>(_ read: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        let outcome = withUnsafeBytes { raw -> Result<R, E> in
            do throws(E) { return .success(try read(raw)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
