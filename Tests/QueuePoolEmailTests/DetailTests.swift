// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolEmail

/// What a refused email's sender is told.
@Suite struct `The detail of a refused email` {
    /// `field: detail`; `nil` if the email is accepted.
    private func refusal(_ json: String) -> String? {
        do {
            _ = try email(json)
            return nil
        } catch EmailMessage.ReadingError.field(let error) { return "\(error.field): \(error.detail)" } catch {
            return "\(error)"
        }
    }

    private func list(_ count: Int) -> String {
        "[" + (0..<count).map { "\"a\($0)@b.example\"" }.joined(separator: ",") + "]"
    }

    @Test(arguments: [51, 52, 1_000])
    func `has the true count`(count: Int) {
        let from = #""from":"a@b.example","text":"x""#
        let told = "There are \(count) recipients; at most 50 are allowed."
        #expect(refusal(#"{\#(from),"to":\#(list(count))}"#) == "to: " + told)
        #expect(refusal(#"{\#(from),"to":\#(list(count - 7)),"cc":\#(list(3)),"bcc":\#(list(4))}"#) == "to: " + told)
        #expect(
            refusal(#"{\#(from),"to":"c@d.example","replyTo":\#(list(count))}"#)
                == "replyTo: There are \(count) addresses; at most 50 are allowed.")
        let headers = (0..<count).map { "\"X-\($0)\":\"v\"" }.joined(separator: ",")
        #expect(
            refusal(#"{\#(from),"to":"c@d.example","headers":{\#(headers)}}"#)
                == "headers: There are \(count) headers; at most 50 are allowed.")
        let files = (0..<count).map { "{\"filename\":\"f\($0)\",\"content\":\"\"}" }.joined(separator: ",")
        #expect(
            refusal(#"{\#(from),"to":"c@d.example","attachments":[\#(files)]}"#)
                == "attachments: There are \(count) attachments; at most 20 are allowed.")
    }

    @Test(arguments: [
        ("", "It is empty"), ("  ", "It is empty"), ("ada.example", "It has no @"),
        ("a@b@c.example", "It has 2 @; one is allowed"), ("@b.example", "Nothing is before the @"),
        ("a@", "Nothing is behind the @"), ("a da@b.example", "Byte 2 of 14 is a space"),
        ("Ada L <a da@b.example>", "Byte 9 of 22 is a space"), ("  a,@b.example", "Byte 4 of 14 is a punctuation mark"),
        ("ä@b.example", "Byte 1 of 12 is not ASCII"), ("a@b_c.example", "Byte 4 of 13 is a punctuation mark"),
        (".a@b.example", "Byte 1 of 12 is a full stop"), ("a.@b.example", "Byte 2 of 12 is a full stop"),
        ("a..b@c.example", "Byte 3 of 14 is a full stop"), ("a@b..example", "Byte 5 of 12 is a full stop"),
        ("a@b.example.", "Byte 12 of 12 is a full stop"), ("a@-b.example", "Byte 3 of 12 is a hyphen"),
        ("a@b-.example", "Byte 4 of 12 is a hyphen"), ("<a@b.example", "Byte 1 of 12 is a punctuation mark"),
        (String(repeating: "x", count: 65) + "@b.example", "65 bytes are before the @; at most 64 are allowed"),
        ("a@" + String(repeating: "x", count: 64) + ".example", "A part of its domain has 64 bytes; at most 63"),
        ("a@" + String(repeating: "x.", count: 126) + "x", "Its address has 255 bytes; at most 254"),
        ("a\u{1}@b.example", "It has a control character at byte 2 of 12"),
    ])
    func `names what is wrong with an address, and where`(text: String, told: String) throws {
        do throws(EmailError) {
            _ = try EmailAddress(text, field: "to")
            Issue.record("accepted")
        } catch { #expect(error.detail.hasPrefix(told), "\(error.detail)") }
    }

    @Test(arguments: [
        (#""subject":"ab\u0007c""#, "subject: It has a control character at byte 3 of 4"),
        (#""headers":{"X A":"b"}"#, "headers[0]: Byte 2 of 3 of its name is a space"),
        (#""headers":{"X:A":"b"}"#, "headers[0]: Byte 2 of 3 of its name is a punctuation mark"),
        (#""headers":{"":"b"}"#, "headers[0]: Its name has 0 bytes; 1 to 76"),
        (#""attachments":[{"content":""}]"#, "attachments[0].filename: It is missing"),
        (#""attachments":[{"filename":"","content":""}]"#, "attachments[0].filename: It has 0 bytes"),
        (#""attachments":[{"filename":"f"}]"#, "attachments[0].content: It is missing"),
        (#""attachments":[{"filename":"f","content":"%"}]"#, "attachments[0].content: It is not base64"),
    ])
    func `names what is wrong with headers and attachments, and where`(member: String, told: String) {
        let detail = refusal(#"{"from":"a@b.example","to":"c@d.example","text":"x",\#(member)}"#)
        #expect(detail?.hasPrefix(told) == true, "\(detail ?? "accepted")")
    }

    @Test(arguments: [
        ("contentType", "text", "It has 0 slashes; type/subtype has one"),
        ("contentType", "a/b/c", "It has 2 slashes; type/subtype has one"),
        ("contentType", "text/", "Its subtype has 0 bytes; 1 to 127"),
        ("contentType", "te xt/plain", "Byte 3 of 11 is a space"),
        ("contentType", "multipart/mixed", "It is a multipart"),
        ("contentId", "", "It has 0 bytes; 1 to 128"),
        ("contentId", "a<b", "Byte 2 of 3 is a punctuation mark"),
    ])
    func `names what is wrong with a type or an id`(member: String, value: String, told: String) {
        let file = #"{"filename":"f","content":"","\#(member)":"\#(value)"}"#
        let detail = refusal(#"{"from":"a@b.example","to":"c@d.example","text":"x","attachments":[\#(file)]}"#)
        #expect(detail?.hasPrefix("attachments[0].\(member): \(told)") == true, "\(detail ?? "accepted")")
    }
}
