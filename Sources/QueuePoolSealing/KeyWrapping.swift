// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A master key may be here, or in a service that never gives it away and wraps data keys itself. Calls to such a one block,
// so none may be made from an event loop or a task.

/// What a data key is for. It opens with the same only.
package struct KeyPurpose: Hashable, Sendable {
    /// The name of the store's file.
    package let file: String
    /// The store was there before its key.
    package let mayHavePlainRows: Bool

    /// - Parameters:
    ///   - file: the name of the store's file.
    ///   - mayHavePlainRows: whether the store was there before its key.
    package init(file: String, mayHavePlainRows: Bool) {
        self.file = file
        self.mayHavePlainRows = mayHavePlainRows
    }

    // What the file says of plain rows must be what was said when the key was made, or rows that somebody put into a
    // store would be taken for older ones.
    private var rows: String { mayHavePlainRows ? "older than its key" : "made sealed" }

    var text: String { "\(file)\n\(rows)" }

    /// The same as names and values; nothing in it is secret.
    package var context: [String: String] {
        ["application": "queuepool", "purpose": "data key", "file": file, "rows": rows]
    }
}

/// Why a master key did not wrap a data key, or did not open one.
package enum KeyWrappingFault: Error, Hashable, Sendable {
    /// The data key was changed, or is for something else.
    case notOpened
    /// It was another master key that wrapped it.
    case otherKey
    /// Whoever has the master key refuses, and does so again until somebody changes the key, the rights or the setting.
    case refused(code: String)
    /// Whoever has the master key was not reached, or had no answer.
    case unavailable(reason: String)
}

/// A master key that opens data keys.
package protocol KeyUnwrapping: Sendable {
    /// Whether what a key of this id wrapped may be for this one to open.
    func fits(_ id: String) -> Bool
    /// - Returns: the data key's bytes.
    func unwrap(_ wrapped: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8]
}

/// A master key that opens data keys and wraps them.
package protocol KeyWrapping: KeyUnwrapping {
    /// Tells keys apart without telling anything of them.
    var id: String { get }
    /// - Parameter dataKey: its bytes.
    func wrap(_ dataKey: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8]
}

extension KeyWrapping {
    package func fits(_ id: String) -> Bool { id == self.id }
}
