// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore

// The extended clients write a pointer before the receipt handle, so that who deletes a message, and shows only the
// handle, names its body too. A handle comes from the outside: whoever makes one up may name any bucket and key, so the
// pointer that is read from one is a claim, not a permission.

extension BodyPointer {
    private static let bucketMarker = Array("-..s3BucketName..-".utf8)
    private static let keyMarker = Array("-..s3Key..-".utf8)

    /// The receipt handle as extended clients give it to their callers:
    /// `-..s3BucketName..-B-..s3BucketName..--..s3Key..-K-..s3Key..-HANDLE`.
    public static func handle(_ pointer: BodyPointer, _ handle: String) -> String {
        "-..s3BucketName..-\(pointer.bucket)-..s3BucketName..--..s3Key..-\(pointer.key)-..s3Key..-\(handle)"
    }

    /// The receipt handle of a message, however it is written, and where the message's body lies; `nil` for a text that is
    /// no handle.
    public static func receipt(_ text: String) -> (handle: ReceiptHandle, pointer: BodyPointer?)? {
        if let handle = ReceiptHandle(text: text) { return (handle, nil) }
        guard let (pointer, rest) = split(handle: text), let handle = ReceiptHandle(text: rest) else { return nil }
        return (handle, pointer)
    }

    /// Takes such a handle apart; `nil` for any other.
    public static func split(handle: String) -> (pointer: BodyPointer, handle: String)? {
        var rest = Array(handle.utf8)[...]
        guard let bucket = part(between: bucketMarker, of: &rest), let key = part(between: keyMarker, of: &rest)
        else { return nil }
        return (BodyPointer(bucket: bucket, key: key), String(decoding: rest, as: UTF8.self))
    }

    /// What stands between the marker that a text begins with and the next one; the text then goes on after that.
    private static func part(between marker: [UInt8], of text: inout ArraySlice<UInt8>) -> String? {
        guard text.starts(with: marker) else { return nil }
        let start = text.startIndex + marker.count
        var end = start
        while end + marker.count <= text.endIndex {
            if text[end] == UInt8(ascii: "-"), text[end...].starts(with: marker) {
                guard end > start else { return nil }
                defer { text = text[(end + marker.count)...] }
                return String(decoding: text[start..<end], as: UTF8.self)
            }
            end += 1
        }
        return nil
    }
}
