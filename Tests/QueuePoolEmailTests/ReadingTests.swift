// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

/// Reads an email from JSON text.
func email(_ json: String) throws -> EmailMessage {
    try Array(json.utf8).withUnsafeBytes { try EmailMessage.read($0).email }
}

/// The field that a text is refused for.
func refusedField(_ json: String) -> String? {
    do {
        _ = try email(json)
        return nil
    } catch EmailMessage.ReadingError.field(let error) { return error.field } catch { return "malformed" }
}

private let head = #""from":"a@b.example","to":"c@d.example""#

@Suite struct `An email in JSON` {
    @Test func `is read, and written in one form that reads the same`() throws {
        let message = try email(
            #"{"html":"<p>hi</p>","to":["Ann \"A\" <a@x.example>","b@x.example"],"from":"Björn <s@x.example>","#
                + #""subject":"Grüße","cc":"c@x.example","headers":{"X-Campaign":"7"},"#
                + #""attachments":[{"filename":"ä.txt","contentType":"text/plain","content":"aGk="}]}"#)
        let again = try email(String(decoding: message.encoded(), as: UTF8.self))
        #expect(again == message)
        #expect(again.encoded() == message.encoded())
        #expect(message.recipients == ["a@x.example", "b@x.example", "c@x.example"])
        #expect(message.attachments.first?.content == Array("hi".utf8))
    }

    @Test func `falls by default into a group that shows no address and no difference of case`() throws {
        let lower = try email(#"{\#(head),"text":"x"}"#).defaultGroup
        let upper = try email(#"{"from":"x@y.example","to":"C@D.example","text":"y"}"#).defaultGroup
        #expect(lower == upper)
        #expect(lower.hasPrefix("rcpt-") && lower.utf8.count == 37 && !lower.contains("@"))
    }

    @Test func `needs a recipient of any kind, and falls into the group of the first`() throws {
        let other = try email(#"{\#(head),"text":"x"}"#).defaultGroup
        for recipients in [#""bcc":"c@d.example""#, #""to":[],"cc":"C@D.example","bcc":"z@d.example""#] {
            let message = try email(#"{"from":"a@b.example",\#(recipients),"text":"x"}"#)
            #expect(message.defaultGroup == other)
            #expect(message.recipients.first?.lowercased() == "c@d.example")
            #expect(try email(String(decoding: message.encoded(), as: UTF8.self)) == message)
        }
        #expect(refusedField(#"{"from":"a@b.example","to":null,"cc":[],"bcc":[],"text":"x"}"#) == "to")
        let refused = Array(#"{"from":"a@b.example","bcc":"c@d.example"}"#.utf8)
        #expect(refused.withUnsafeBytes { EmailMessage.parse($0).group } == other)
        let unknown = Array(#"{"from":"a@b.example","to":7,"bcc":"c@d.example"}"#.utf8)
        #expect(unknown.withUnsafeBytes { EmailMessage.parse($0).group } == nil)
    }

    @Test(arguments: [
        (#"{"to":"c@d.example","text":"x"}"#, "from"),
        (#"{"from":"a@b.example","text":"x"}"#, "to"),
        (#"{"from":"a@b.example","to":[],"text":"x"}"#, "to"),
        (#"{\#(head)}"#, "text"),
        (#"{\#(head),"text":7}"#, "text"),
        (#"{\#(head),"text":"x","priority":1}"#, "email"),
        (#"{\#(head),"text":"x","text":"y"}"#, "malformed"),
        (#"{"from":"a@b.example","to":["c@d.example","nobody"],"text":"x"}"#, "to[1]"),
        (#"{\#(head),"text":"x","headers":{"From":"z"}}"#, "headers[0]"),
        (#"{\#(head),"text":"x","headers":{"X-A":"1","x-a":"2"}}"#, "headers[1]"),
        (#"{\#(head),"text":"x","headers":{"X A":"1"}}"#, "headers[0]"),
        (#"{\#(head),"text":"x","attachments":[{"filename":"a","content":"%%"}]}"#, "attachments[0].content"),
        (
            #"{\#(head),"text":"x","attachments":[{"filename":"a","contentType":"multipart/mixed","content":""}]}"#,
            "attachments[0].contentType"
        ),
        (#"[]"#, "email"),
        (#"{"#, "malformed"),
    ])
    func `that breaks a rule is refused with the field`(json: String, field: String) {
        #expect(refusedField(json) == field)
    }

    @Test(arguments: [
        (#"{\#(head),"text":7}"#, "rcpt-"),
        (#"{\#(head),"text":7,"group":"g"}"#, "g"),
        (#"{\#(head),"text":"x","group":"g h"}"#, "g h"),
        (#"{"from":"a@b.example","to":["c@d.example","nobody"],"text":"x"}"#, "rcpt-"),
        (#"{\#(head),"group":7}"#, nil),
        (#"{"from":"a@b.example","to":["nobody","c@d.example"],"text":"x"}"#, nil),
        (#"{"from":"a@b.example","text":"x"}"#, nil),
        (#"{\#(head),"#, nil),
        (#"{"group":"g",\#(head),"#, "g"),
    ])
    func `tells its group even when it is refused, if that can be known`(json: String, group: String?) throws {
        let reading = Array(json.utf8).withUnsafeBytes { EmailMessage.parse($0) }
        let ofRecipient = try email(#"{\#(head),"text":"x"}"#).defaultGroup
        if case .success = reading.result { #expect(reading.group == "g h") }
        #expect(reading.group == (group == "rcpt-" ? ofRecipient : group))
    }

    @Test(arguments: [#"\r\nBcc: x@y.example"#, #"\nX: y"#, #"\rX: y"#, #"\u0000"#])
    func `cannot smuggle a header in`(tail: String) {
        #expect(refusedField(#"{\#(head),"text":"x","subject":"s\#(tail)"}"#) == "subject")
        #expect(refusedField(#"{\#(head),"text":"x","headers":{"X-A":"s\#(tail)"}}"#) == "headers[0]")
        #expect(refusedField(#"{"from":"N\#(tail) <a@b.example>","to":"c@d.example","text":"x"}"#) == "from")
        #expect(refusedField(#"{"from":"a@b.example","to":"c@d.example\#(tail)","text":"x"}"#) == "to")
        let file = #"[{"filename":"f\#(tail)","content":""}]"#
        #expect(refusedField(#"{\#(head),"text":"x","attachments":\#(file)}"#) == "attachments[0].filename")
    }

    @Test(arguments: [
        "a", "@b", "a@", "a@@b", "a b@c.example", "a@b c", "a@-b.example", "a@b..example", ".a@b.example",
        "a.@b.example",
        "<a@b.example", "a@b.example>", "A <a@b.example> x", "ä@b.example", "",
    ])
    func `has no address such as these`(text: String) {
        #expect(throws: EmailError.self) { try EmailAddress(text, field: "to") }
    }

    @Test func `has no mailbox longer than a name and an address can be`() {
        let blanks = String(repeating: " ", count: 1_024)
        #expect(throws: EmailError.self) { try EmailAddress(blanks + "a@b.example", field: "to") }
        let quoted = "\"" + String(repeating: "\\\"", count: 256) + "\" <a@b.example>"
        #expect((try? EmailAddress(quoted, field: "to"))?.name == String(repeating: "\"", count: 256))
    }

    @Test func `says nothing of the value in an error`() {
        #expect {
            try EmailAddress("secret-value", field: "to")
        } throws: {
            !"\($0)".contains("secret-value")
        }
    }
}
