// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

/// Where one rule of a port is tried out; what it finds is written down there.
protocol RuleBench: AnyObject, Sendable {
    var findings: Findings { get }
}

extension RuleBench {
    /// What a rule finds on a new bench, on a thread of its own: the calls block.
    static func findings(
        of rule: @escaping @Sendable (Self) throws -> Void, on makeBench: @escaping @Sendable () throws -> Self
    ) async throws -> Findings {
        try await onOwnThread {
            let bench = try makeBench()
            do { try rule(bench) } catch { bench.noteEnd(error) }
            return bench.findings
        }
    }

    /// A rule that ends by an error has not looked at all that it is about.
    func noteEnd(_ error: any Error) { check(false, "the rule ended early: \(error)") }

    func check(_ holds: Bool, _ text: @autoclosure () -> String, _ place: SourceLocation = #_sourceLocation) {
        findings.check(holds, text(), place)
    }
}

/// A bench of a port whose calls throw errors of one type.
protocol StoreBench: RuleBench {
    associatedtype Failure: Error, Equatable
}

extension StoreBench {
    /// Checks that a call fails as it must.
    func check(
        _ wanted: Failure, _ text: String, _ place: SourceLocation = #_sourceLocation, _ body: () throws -> Void
    ) {
        do {
            try body()
            check(false, "\(text): it was done, and should have been \(wanted)", place)
        } catch {
            check(error as? Failure == wanted, "\(text): \(error), should have been \(wanted)", place)
        }
    }
}

/// Runs what blocks on a thread that nobody else waits for.
func onOwnThread<R: Sendable>(_ body: @escaping @Sendable () throws -> R) async throws -> R {
    try await withCheckedThrowingContinuation { (done: CheckedContinuation<R, any Error>) in
        Thread.detachNewThread { done.resume(with: Result(catching: body)) }
    }
}
