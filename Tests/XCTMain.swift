// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import Testing

// All tests are Swift Testing's, which finds them at run time. With a start of their own, no index of the sources is
// needed to look for XCTest's, and the build goes without writing one.

/// Where the tests' program begins.
@main struct Runner {
    // Not asynchronous: the program under test, which is linked in, has an asynchronous one, and there can be one only.
    static func main() {
        guard CommandLine.arguments.contains("swift-testing") else {
            // `swift test` takes tests with a start of their own for XCTest's, and would say that none failed.
            FileHandle.standardError.write(
                Data("There are no tests of XCTest: swift test --disable-xctest --enable-swift-testing\n".utf8))
            exit(64)
        }
        Task { await Testing.__swiftPMEntryPoint() as Never }
        dispatchMain()
    }
}
