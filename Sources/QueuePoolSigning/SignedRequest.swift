// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The method, the target and the header fields of a request, in one buffer: names in lower case and values folded as
// they are copied in, so that nothing on the way of a signature makes a string. Who handles many requests keeps one and
// fills it again.

/// What of a request a signature covers, but for its body.
package struct SignedRequest: Sendable {
    /// One header field: its name begins at `start`, its value at `nameEnd`.
    struct Field: Sendable {
        let start: Int
        let nameEnd: Int
        let end: Int
    }

    private(set) var bytes: [UInt8] = []
    private(set) var fields: [Field] = []
    private(set) var method = 0..<0
    private(set) var path = 0..<0
    private(set) var query = 0..<0
    /// Fields whose names begin with `x-amz-`; a signature covers all of them.
    private(set) var amazonFields = 0

    /// - Parameter target: as on the request line: a path, with its query if there is one.
    package init(method: String, target: String) {
        reserve()
        begin(method: method, target: target)
    }

    /// The same from the bytes of a request line, which are copied.
    package init(method: UnsafeRawBufferPointer, target: UnsafeRawBufferPointer) {
        reserve()
        begin(method, target)
    }

    private mutating func reserve() {
        bytes.reserveCapacity(1_024)
        fields.reserveCapacity(16)
    }

    /// Forgets what it held but for its memory.
    package mutating func begin(method: String, target: String) {
        bytes.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
        amazonFields = 0
        begin(method.utf8, target.utf8)
    }

    private mutating func begin(_ method: some Collection<UInt8>, _ target: some Collection<UInt8>) {
        bytes.append(contentsOf: method)
        self.method = 0..<bytes.count
        bytes.append(contentsOf: target)
        let start = self.method.upperBound
        let end = bytes[start...].firstIndex(of: UInt8(ascii: "?")) ?? bytes.count
        path = start..<end
        query = min(end + 1, bytes.count)..<bytes.count
    }

    /// Adds a header field; a name may come again.
    package mutating func add(name: String, value: String) { add(name.utf8, value.utf8) }

    /// The same from the bytes of a line, which are copied.
    package mutating func add(name: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) { add(name, value) }

    private mutating func add(_ name: some Collection<UInt8>, _ value: some Collection<UInt8>) {
        let start = bytes.count
        bytes.append(contentsOf: name)
        let nameEnd = bytes.count
        for index in start..<nameEnd where bytes[index] &- UInt8(ascii: "A") < 26 { bytes[index] |= 32 }
        bytes.append(contentsOf: value)
        SigningText.fold(&bytes, from: nameEnd)
        fields.append(Field(start: start, nameEnd: nameEnd, end: bytes.count))
        if SigningText.has(bytes, start..<nameEnd, prefix: "x-amz-") { amazonFields += 1 }
    }

    /// Whether a field has this name, which is in lower case.
    func isNamed(_ field: Field, _ name: StaticString) -> Bool {
        SigningText.equal(bytes, field.start..<field.nameEnd, name)
    }

    /// The value of the only field of a name, which is in lower case.
    func only(_ name: StaticString) throws(SignatureFault) -> Range<Int>? {
        var found: Range<Int>?
        for field in fields where isNamed(field, name) {
            guard found == nil else { throw .incompleteSignature("A header of the signature is there twice.") }
            found = field.nameEnd..<field.end
        }
        return found
    }
}
