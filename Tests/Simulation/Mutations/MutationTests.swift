// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolChecking
import QueuePoolCore
import QueuePoolTestSupport
import Testing

// Does the simulation bite? With `QUEUEPOOL_MUTATION=N` the process has a deliberate fault, and some world must break a
// promise. `infra/mutate` runs this for every fault and writes what became of it into mutations.md. Worlds that break one
// without a fault prove nothing: number 0 lists them, and `SIM_EXCEPT` leaves them out.

@Suite struct MutationTests {
    private static func number(_ name: String) -> Int? {
        ProcessInfo.processInfo.environment[name].flatMap { Int($0) }
    }

    @Test func `Every deliberate fault is in the table`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "mutations.md")
        let rows = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            .map { row in row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) } }
            .filter { $0.count >= 2 && Int($0[0]) != nil }
        #expect(rows.map { "\($0[0]) \($0[1])" } == Mutation.allCases.map { "\($0.rawValue) `\($0)`" })
    }

    @Test func `Numbers of deliberate faults are positive and grow`() {
        let numbers = Mutation.allCases.map(\.rawValue)
        #expect(numbers.allSatisfy { $0 > 0 } && zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test(.enabled(if: number("QUEUEPOOL_MUTATION") != nil))
    func `A world breaks a promise by the deliberate fault`() async throws {
        let number = try #require(MutationTests.number("QUEUEPOOL_MUTATION"))
        let count = MutationTests.number("SIM_SEEDS") ?? 400
        let first = MutationTests.number("SIM_SEED") ?? 1
        var seeds = (0..<count).map { UInt64(first + $0) }
        guard number > 0 else {
            let broken = await MutationTests.broken(seeds)
            return print(
                "worlds that break a promise without a fault:", broken.map { "\($0.seed)" }.joined(separator: " "))
        }
        let fault = try #require(Mutation(rawValue: number))
        try #require(fault.isOn, "only debug builds have deliberate faults")
        let except = ProcessInfo.processInfo.environment["SIM_EXCEPT"]?.split(separator: " ").compactMap { UInt64($0) }
        seeds.removeAll { except?.contains($0) == true }
        for tried in stride(from: 0, to: seeds.count, by: 2) {
            let broken = await MutationTests.broken(seeds[tried..<min(tried + 2, seeds.count)])
            guard let (seed, promises) = broken.first else { continue }
            return print("mutation \(number) caught by seed \(seed) after \(Int(seed) - first + 1) seeds: \(promises)")
        }
        print("mutation \(number) not caught by \(seeds.count) seeds")
        Issue.record("no world of \(seeds.count) noticed \(fault)")
    }

    /// The worlds that break promises, and which. Two at a time, each on one thread.
    private static func broken(_ seeds: some RandomAccessCollection<UInt64>) async -> [(seed: UInt64, promises: String)]
    {
        let steps = number("SIM_STEPS") ?? 1_000
        return await withTaskGroup { group in
            for lane in 0..<2 {
                let mine = seeds.enumerated().filter { $0.offset % 2 == lane }.map(\.element)
                group.addTask {
                    mine.compactMap { seed -> (seed: UInt64, promises: String)? in
                        let broken = Set(World(WorldPlan(seed: seed, steps: steps)).run().map(\.promise.rawValue))
                        return broken.isEmpty ? nil : (seed, broken.sorted().joined(separator: " "))
                    }
                }
            }
            return await group.reduce(into: []) { $0 += $1 }.sorted { $0.seed < $1.seed }
        }
    }
}
