// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The actions that a quota of SQS counts apart; a batch request is one of its kind.
public enum QueueAction: Int, CaseIterable, Hashable, Sendable {
    case send
    case receive
    case delete
    case visibility

    /// The value of the label `action`.
    public var text: String {
        switch self {
        case .send: "send"
        case .receive: "receive"
        case .delete: "delete"
        case .visibility: "visibility"
        }
    }
}

/// How a request to a remote queue ended.
public enum QueueRequestOutcome: Int, CaseIterable, Hashable, Sendable {
    /// It was answered; single entries may have failed.
    case done
    /// The service refused it for its rate.
    case throttled
    /// No answer came, or none that says whether it was carried out.
    case unknown
    /// Nothing was done, for another reason.
    case failed

    /// The value of the label `outcome`.
    public var text: String {
        switch self {
        case .done: "done"
        case .throttled: "throttled"
        case .unknown: "unknown"
        case .failed: "failed"
        }
    }
}

/// Requests to one remote queue since it was opened, and what they carried: what a quota counts, and what is paid for.
public struct QueueRequestCounts: Hashable, Sendable {
    private var requests = [Int](
        repeating: 0, count: QueueAction.allCases.count * QueueRequestOutcome.allCases.count)
    private var entries = [Int](repeating: 0, count: QueueAction.allCases.count)

    public init() {}

    /// Counts a request that is over.
    /// - Parameter carried: messages or receipt handles in it.
    public mutating func count(_ action: QueueAction, _ outcome: QueueRequestOutcome, carried: Int) {
        requests[action.rawValue * QueueRequestOutcome.allCases.count + outcome.rawValue] += 1
        entries[action.rawValue] += carried
    }

    /// Counts what an answer carried.
    public mutating func carried(_ action: QueueAction, _ count: Int) { entries[action.rawValue] += count }

    public func requests(_ action: QueueAction, _ outcome: QueueRequestOutcome) -> Int {
        requests[action.rawValue * QueueRequestOutcome.allCases.count + outcome.rawValue]
    }

    /// Messages or receipt handles that requests of this kind, or their answers, carried, whatever became of them.
    public func entries(_ action: QueueAction) -> Int { entries[action.rawValue] }
}
