// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolWorker

@Suite struct `A mail target` {
    private static func places(_ recipients: [Int]?, attribute: String? = nil) -> [Int] {
        var message = WorkMessage(
            id: "id", handle: "h", group: "g",
            attributes: attribute.map { [MessageAttribute(name: MailTarget.recipientsAttribute, text: $0)] } ?? [])
        message.recipients = recipients
        return MailTarget.places(message, count: 5)
    }

    @Test func `sends to all unless it is told who is left`() {
        #expect(Self.places(nil) == [0, 1, 2, 3, 4])
        #expect(Self.places([1, 4]) == [1, 4])
        #expect(Self.places(nil, attribute: "1,4") == [1, 4])
        #expect(Self.places([2], attribute: "1,4") == [2])
    }

    @Test(arguments: ["", "5", "-1", "+1", "1,", ",1", "1;2", "1, 2", "0x1", "1,1", "99999999999999999999", "all"])
    func `takes no list of recipients that is none`(attribute: String) {
        #expect(Self.places(nil, attribute: attribute) == [0, 1, 2, 3, 4])
    }

    @Test(arguments: [
        (MailResult.taken(codes: [250, 251, 250]), DeliveryOutcome.delivered),
        (
            .taken(codes: [450, 250, 550]),
            .partial(PartialDelivery(refused: [7], deferred: [1], errorClass: "smtp-550"))
        ),
        (
            .taken(codes: [250, 250, 452]),
            .partial(PartialDelivery(refused: [], deferred: [7], errorClass: "smtp-452"))
        ),
        (.rejected(code: 552), .refused(errorClass: "smtp-552")),
        (.rejected(code: 421), .failed(errorClass: "smtp-421")),
        (.unavailable(.refused(code: 535)), .unavailable(errorClass: "smtp-535")),
        (.unavailable(.tls), .unavailable(errorClass: "tls")), (.unknown(.timeout), .unknown(errorClass: "timeout")),
        (.invalid, .refused(errorClass: "invalid-request")),
    ])
    func `tells what became of a mail, recipients by their places in the whole list`(
        result: MailResult, outcome: DeliveryOutcome
    ) {
        #expect(MailTarget.outcome(result, [1, 4, 7]) == outcome)
    }

    @Test func `that was stopped says nothing of the target, unless the mail may have arrived`() {
        #expect(MailTarget.outcome(.unavailable(.cancelled), [0]) == .cancelled)
        #expect(MailTarget.outcome(.unavailable(.closed), [0]) == .cancelled)
        #expect(MailTarget.outcome(.unknown(.cancelled), [0]) == .unknown(errorClass: "stopped"))
    }
}
