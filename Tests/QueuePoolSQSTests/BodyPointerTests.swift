// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Testing

// What Amazon's extended client for Python, 1.0.1, sent and gave to its caller, byte for byte.
private let pythonsText =
    #"["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "bodies", "#
    + #""s3Key": "e053d246-1bd3-46f4-9ac4-c5cf28c238c7"}]"#
private let pythonsHandle =
    "-..s3BucketName..-bodies-..s3BucketName..--..s3Key..-e053d246-1bd3-46f4-9ac4-c5cf28c238c7-..s3Key..-qynrdzcesjda"
private let pythonsPointer = BodyPointer(bucket: "bodies", key: "e053d246-1bd3-46f4-9ac4-c5cf28c238c7")

// The same, told to use the older names, with a key of the caller's own.
private let olderText =
    #"["com.amazon.sqs.javamessaging.MessageS3Pointer", {"s3BucketName": "bodies", "#
    + #""s3Key": "a/\"\u00e9\ud83d\ude00\\k"}]"#
private let olderHandle = "-..s3BucketName..-bodies-..s3BucketName..--..s3Key..-a/\"é😀\\k-..s3Key..-qmkaxdeqydlw"
private let olderPointer = BodyPointer(bucket: "bodies", key: "a/\"é😀\\k")

private func read(_ text: String) -> BodyPointer? { BodyPointer.read(Array(text.utf8)) }

@Suite struct `The text of a body's pointer` {
    @Test func `is one line of JSON that the extended clients know`() {
        #expect(
            BodyPointer(bucket: "B", key: "K").text
                == #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"B","s3Key":"K"}]"#)
        #expect(
            olderPointer.text
                == #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"bodies","#
                + #""s3Key":"a/\"é😀\\k"}]"#)
        #expect(olderPointer.utf8 == Array(olderPointer.text.utf8))
    }

    @Test func `is read back, whatever is in it`() {
        for pointer in [
            pythonsPointer, olderPointer, BodyPointer(bucket: ".", key: "\u{0}\n\"}]"),
            BodyPointer(
                bucket: String(repeating: "\u{1}", count: 63), key: String(repeating: "\u{1}", count: 1_024)),
        ] {
            #expect(read(pointer.text) == pointer)
        }
    }

    @Test func `is read as the client for Python writes it`() {
        #expect(read(pythonsText) == pythonsPointer)
        #expect(read(olderText) == olderPointer)
    }

    @Test func `is read with its members in any order, with blanks and with members that are not known`() {
        let text = """
            [ "software.amazon.payloadoffloading.PayloadS3Pointer" ,
            {"s3Key":"k" , "region":{"a":[1]}, "s3BucketName" :"b"} ]\t
            """
        #expect(read(text) == BodyPointer(bucket: "b", key: "k"))
    }

    @Test(arguments: [
        "", "hello", "[", "[]", "{}", "null", "[1,2]", #"["software.amazon.payloadoffloading.PayloadS3Pointer"]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",[]]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b"}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3Key":"k"}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"","s3Key":"k"}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":""}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":1}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k","s3Key":"l"}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"},1]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"k"}]x"#,
        #"["software.amazon.payloadoffloading.payloads3pointer",{"s3BucketName":"b","s3Key":"k"}]"#,
        #"["other",{"s3BucketName":"b","s3Key":"k"}]"#,
        #"["software.amazon.payloadoffloading.PayloadS3Pointer",{"s3BucketName":"b","s3Key":"\ud800"}]"#,
    ]) func `is not seen in any other body`(body: String) {
        #expect(read(body) == nil)
    }

    @Test func `is not seen in bytes that are no text, nor in a body that is too long for one`() {
        #expect(BodyPointer.read([0xFF, 0x00]) == nil)
        let room = String(repeating: " ", count: BodyPointer.textBytesMax - pythonsText.utf8.count)
        #expect(read(pythonsText + room) == pythonsPointer)
        #expect(read(pythonsText + room + " ") == nil)
    }
}

@Suite struct `The receipt handle of extended clients` {
    @Test func `is the one that the client for Python gives to its caller`() {
        #expect(BodyPointer.handle(pythonsPointer, "qynrdzcesjda") == pythonsHandle)
        #expect(BodyPointer.handle(olderPointer, "qmkaxdeqydlw") == olderHandle)
    }

    @Test func `comes apart again`() throws {
        for (text, pointer, handle) in [
            (pythonsHandle, pythonsPointer, "qynrdzcesjda"), (olderHandle, olderPointer, "qmkaxdeqydlw"),
        ] {
            let parts = try #require(BodyPointer.split(handle: text))
            #expect(parts.pointer == pointer && parts.handle == handle)
        }
        let parts = try #require(
            BodyPointer.split(handle: BodyPointer.handle(BodyPointer(bucket: ".", key: "a-..b-"), "r1.-..s3Key..-x")))
        #expect(parts.pointer == BodyPointer(bucket: ".", key: "a-..b-") && parts.handle == "r1.-..s3Key..-x")
    }

    @Test(arguments: [
        "", "abc", "-..s3BucketName..-", "-..s3BucketName..-b", "-..s3BucketName..-b-..s3BucketName..-",
        "-..s3BucketName..-b-..s3BucketName..--..s3Key..-", "-..s3BucketName..-b-..s3BucketName..--..s3Key..-k",
        "-..s3BucketName..-b-..s3BucketName..-x-..s3Key..-k-..s3Key..-h",
        "-..s3BucketName..--..s3BucketName..--..s3Key..-k-..s3Key..-h",
        "-..s3BucketName..-b-..s3BucketName..--..s3Key..--..s3Key..-h",
        "x-..s3BucketName..-b-..s3BucketName..--..s3Key..-k-..s3Key..-h",
        "-..s3Key..-k-..s3Key..--..s3BucketName..-b-..s3BucketName..-h",
    ]) func `is not seen in any other`(handle: String) {
        #expect(BodyPointer.split(handle: handle) == nil)
    }
}
