// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// The actions of SQS that make and compare queues. Messages go another way. Calls block (see JSONService).
// Source: SQS API reference, version 2012-11-05, AWS JSON protocol.

/// Queues of one region as an administrator sees them.
package struct SQSAdministrator: Sendable {
    private let service: JSONService

    package init(service: JSONService) { self.service = service }

    /// The service at an endpoint, for `init(service:)`.
    package static func service(caller: any AWSCaller, region: String, endpoint: String, clock: any Clock)
        -> JSONService
    {
        JSONService(
            caller: caller, service: "sqs", targetPrefix: "AmazonSQS", region: region, endpoint: endpoint, clock: clock)
    }

    /// - Returns: `nil` if there is no queue of that name.
    package func url(ofQueue name: String) throws(AWSError) -> String? {
        do throws(AWSError) {
            return try service.call("GetQueueUrl", ["QueueName": .string(name)])["QueueUrl"]?.text
        } catch {
            if SQSAdministrator.absences.contains(error.code) { return nil }
            throw error
        }
    }

    /// - Returns: the queue's URL.
    package func create(_ queue: QueueSpecification) throws(AWSError) -> String {
        let answer = try service.call(
            "CreateQueue",
            [
                "QueueName": .string(queue.name), "Attributes": JSONTree(queue.attributes),
                "tags": JSONTree(queue.tags),
            ])
        guard let url = answer["QueueUrl"]?.text else { throw .unknownOutcome(code: "UnreadableAnswer") }
        return url
    }

    /// What is there under a URL; `nil` if nothing is.
    package func queue(at url: String) throws(AWSError) -> FoundQueue? {
        do throws(AWSError) {
            let attributes = try service.call(
                "GetQueueAttributes", ["QueueUrl": .string(url), "AttributeNames": ["All"]])["Attributes"]?.texts
            let tags = try service.call("ListQueueTags", ["QueueUrl": .string(url)])["Tags"]?.texts
            return FoundQueue(url: url, attributes: attributes ?? [:], tags: tags ?? [:])
        } catch {
            if SQSAdministrator.absences.contains(error.code) { return nil }
            throw error
        }
    }

    package func setAttributes(ofQueueAt url: String, _ attributes: [String: String]) throws(AWSError) {
        _ = try service.call("SetQueueAttributes", ["QueueUrl": .string(url), "Attributes": JSONTree(attributes)])
    }

    package func tag(queueAt url: String, _ tags: [String: String]) throws(AWSError) {
        _ = try service.call("TagQueue", ["QueueUrl": .string(url), "Tags": JSONTree(tags)])
    }

    private static let absences: Set<String> = [
        "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NonExistentQueue",
    ]
}
