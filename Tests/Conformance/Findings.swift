// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization
import Testing

// Rules do not fail a test by themselves: they write down what they found. So one rule serves two kinds of test. Of a
// real implementation every finding is a failure; of one that was broken on purpose, no finding is: a rule that finds
// nothing there proves nothing anywhere.

/// What a rule found wrong.
final class Findings: Sendable {
    struct Finding: Sendable {
        let text: String
        let place: SourceLocation
    }

    private let found = Mutex<[Finding]>([])

    var all: [Finding] { found.withLock { $0 } }

    /// Writes down that something is not as it must be.
    func check(_ holds: Bool, _ text: @autoclosure () -> String, _ place: SourceLocation = #_sourceLocation) {
        guard !holds else { return }
        let finding = Finding(text: text(), place: place)
        found.withLock { $0.append(finding) }
    }

    /// Fails the test for each of them.
    func report() {
        for finding in all { Issue.record(Comment(rawValue: finding.text), sourceLocation: finding.place) }
    }
}
