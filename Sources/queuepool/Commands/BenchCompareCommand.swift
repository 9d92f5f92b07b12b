// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolBench

/// Two results beside each other.
struct BenchCompareCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compare", abstract: "Compare two results of bench run.",
        discussion: """
            Example:
              queuepool bench --json before.json
              queuepool bench --json after.json
              queuepool bench compare before.json after.json --html compared.html --fail-below 0.95
            Ratios are of the second to the first. Parameters that differ and make the comparison unfair are named.
            Exit codes: 0, 3 when --fail-below is missed, 64 for a wrong flag, 66 for a file that is no result of \
            bench run.
            """)

    @Argument(help: ArgumentHelp("The JSON of the run that the other is measured by.", valueName: "a.json"))
    var first: String
    @Argument(help: ArgumentHelp("The JSON of the other run.", valueName: "b.json")) var second: String
    @Option(help: "File the comparison is written to as one HTML page that loads nothing.") var html: String?
    @Option(help: "A ratio of throughput below this one, or not known, ends with exit code 3; above 0, at most 100.")
    var failBelow: Double?

    func validate() throws {
        if let failBelow, !(failBelow > 0 && failBelow <= 100) {
            throw ValidationError("--fail-below: above 0, at most 100.")
        }
    }

    func run() async throws {
        try await reportingFailures {
            let comparison = BenchComparison(try result(first), try result(second), names: (first, second))
            print(comparison.text, terminator: "")
            if let html { try writeFile(comparison.html, to: html) }
            guard let failBelow else { return }
            let failed = comparison.below(failBelow).map(\.name)
            if !failed.isEmpty || !comparison.hasThroughput {
                throw CommandFailure(
                    "below \(failBelow) of the first: " + failed.joined(separator: ", "),
                    status: BenchRunCommand.missedStatus)
            }
        }
    }

    private func result(_ path: String) throws -> BenchResult {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path)) else {
            throw CommandFailure("'\(path)' cannot be read", status: ExitStatus.noInput)
        }
        guard let result = try? JSONDecoder().decode(BenchResult.self, from: data), result.isComparable else {
            throw CommandFailure("'\(path)' is no result of queuepool bench run", status: ExitStatus.noInput)
        }
        return result
    }
}
