// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The canonical request of Signature Version 4, made in the same way for those who sign and those who verify.
// Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

/// Writes canonical requests.
package enum CanonicalRequest {
    /// What became of the header fields.
    struct Coverage {
        /// Names of the list that the request has no field of.
        var missing = 0
        /// Fields of `x-amz-` that the list names.
        var amazonFields = 0
    }

    /// Appends the canonical request.
    /// - Parameters:
    ///   - names: the signed headers, in lower case and sorted, with `;` between.
    ///   - payload: the hash of the body in hex, or the word that stands for it.
    ///   - isPathPlain: S3's rule: the path is taken as it is.
    @discardableResult
    static func add(
        _ request: SignedRequest, names: [UInt8], payload: some Sequence<UInt8>, isPathPlain: Bool = false,
        to out: inout [UInt8]
    ) -> Coverage {
        out.append(contentsOf: request.bytes[request.method])
        out.append(newline)
        if isPathPlain {
            out.append(contentsOf: request.bytes[request.path])
            if request.path.isEmpty { out.append(UInt8(ascii: "/")) }
        } else {
            addPath(request, to: &out)
        }
        out.append(newline)
        addQuery(request, to: &out)
        out.append(newline)
        let coverage = addFields(request, names, to: &out)
        out.append(newline)
        out.append(contentsOf: names)
        out.append(newline)
        out.append(contentsOf: payload)
        return coverage
    }

    /// All names of a request's fields, sorted, each once, with `;` between.
    static func names(of request: SignedRequest) -> [UInt8] {
        let sorted = request.fields.map { request.bytes[$0.start..<$0.nameEnd] }
            .sorted { $0.lexicographicallyPrecedes($1) }
        var out: [UInt8] = []
        for (place, name) in sorted.enumerated() where place == 0 || sorted[place - 1] != name {
            if !out.isEmpty { out.append(separator) }
            out.append(contentsOf: name)
        }
        return out
    }

    private static let newline = UInt8(ascii: "\n")
    private static let separator = UInt8(ascii: ";")

    /// A repeated field is one line, its values in the order of the request.
    private static func addFields(_ request: SignedRequest, _ names: [UInt8], to out: inout [UInt8]) -> Coverage {
        var coverage = Coverage()
        var start = 0
        while start < names.count {
            var end = start
            while end < names.count, names[end] != separator { end += 1 }
            let isAmazons = SigningText.has(names, start..<end, prefix: "x-amz-")
            var count = 0
            for field in request.fields
            where SigningText.equal(request.bytes, field.start..<field.nameEnd, names, start..<end) {
                if count == 0 {
                    out.append(contentsOf: names[start..<end])
                    out.append(UInt8(ascii: ":"))
                } else {
                    out.append(UInt8(ascii: ","))
                }
                out.append(contentsOf: request.bytes[field.nameEnd..<field.end])
                count += 1
            }
            if count == 0 { coverage.missing += 1 } else { out.append(newline) }
            if isAmazons { coverage.amazonFields += count }
            start = end + 1
        }
        return coverage
    }

    /// Without dot segments and empty ones, each byte but the unreserved and `/` encoded once more.
    private static func addPath(_ request: SignedRequest, to out: inout [UInt8]) {
        let path = request.bytes[request.path]
        let begin = out.count
        for segment in path.split(separator: UInt8(ascii: "/")) {
            if segment.elementsEqual(".".utf8) { continue }
            if segment.elementsEqual("..".utf8) {
                // Encoded slashes are no slashes: `%` is encoded again.
                while out.count > begin, out.removeLast() != UInt8(ascii: "/") {}
                continue
            }
            out.append(UInt8(ascii: "/"))
            for byte in segment {
                if SigningText.isUnreserved(byte) {
                    out.append(byte)
                } else {
                    out.append(UInt8(ascii: "%"))
                    out.append(SigningText.digit(byte >> 4, upper: true))
                    out.append(SigningText.digit(byte & 15, upper: true))
                }
            }
        }
        if out.count == begin || path.last == UInt8(ascii: "/") { out.append(UInt8(ascii: "/")) }
    }

    /// Pairs by name, then by value, encoded already; the signature of a presigned request is not part of itself.
    private static func addQuery(_ request: SignedRequest, to out: inout [UInt8]) {
        guard !request.query.isEmpty else { return }
        let pairs = QueryPairs(request).filter { !SigningText.equal(request.bytes, $0.name, "X-Amz-Signature") }
        let bytes = request.bytes
        let sorted = pairs.sorted { a, b in
            SigningText.equal(bytes, a.name, bytes, b.name)
                ? bytes[a.value].lexicographicallyPrecedes(bytes[b.value])
                : bytes[a.name].lexicographicallyPrecedes(bytes[b.name])
        }
        for (place, pair) in sorted.enumerated() {
            if place > 0 { out.append(UInt8(ascii: "&")) }
            out.append(contentsOf: bytes[pair.name])
            out.append(UInt8(ascii: "="))
            out.append(contentsOf: bytes[pair.value])
        }
    }
}

/// The pairs of a request's query, as they stand there.
struct QueryPairs: Sequence, IteratorProtocol {
    typealias Pair = (name: Range<Int>, value: Range<Int>)

    private let bytes: [UInt8]
    private var place: Int
    private let end: Int

    init(_ request: SignedRequest) {
        bytes = request.bytes
        place = request.query.lowerBound
        // An empty query has no pair; any other has one more than `&`s, empty ones among them.
        end = request.query.isEmpty ? place - 1 : request.query.upperBound
    }

    mutating func next() -> Pair? {
        guard place <= end else { return nil }
        let start = place
        var stop = start
        var equals: Int?
        while stop < end, bytes[stop] != UInt8(ascii: "&") {
            if equals == nil, bytes[stop] == UInt8(ascii: "=") { equals = stop }
            stop += 1
        }
        place = stop + 1
        guard let equals else { return (start..<stop, stop..<stop) }
        return (start..<equals, (equals + 1)..<stop)
    }
}
