// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why the file of bodies was not opened.
package enum BodyFileError: Error, Hashable, CustomStringConvertible {
    /// It is no file of bodies.
    case foreign(file: String)
    /// A later version of the program wrote it.
    case newer(file: String, version: Int64, known: Int64)
    case failed(DatabaseError)

    package var description: String {
        switch self {
        case .foreign(let file): "\(file) is not a file of large bodies: another program made it, or it was renamed"
        case .newer(let file, let version, let known):
            "\(file) has format \(version), and this version of queuepool reads up to format \(known): "
                + "start the version that wrote it, or a later one"
        case .failed(let error): error.description
        }
    }
}
