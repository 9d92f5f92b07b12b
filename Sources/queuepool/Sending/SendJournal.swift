// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc

/// The journal file of a send: locked while the send runs, appended to and fsynced.
final class SendJournal {
    private let descriptor: Int32
    private let path: String
    private(set) var state: SendState

    /// Opens the journal, or makes it with a new run.
    /// - Throws: `CommandFailure` when it cannot be used for this input.
    init(path: String, input: Int32, head: SendState.Head, restart: Bool) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw CommandFailure(
                "state file '\(path)' cannot be opened: \(systemMessage(errno))", status: ExitStatus.inputOutput)
        }
        state = SendState(head: head)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            throw CommandFailure("another send uses the state file '\(path)'")
        }
        let found = try FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).readToEnd() ?? Data()
        if restart || !found.contains(UInt8(ascii: "\n")) {
            guard ftruncate(descriptor, 0) == 0 else { throw SendJournal.failure(path) }
            lseek(descriptor, 0, SEEK_SET)
            try append(SendState.journalLine(head))
            try SendJournal.syncDirectory(of: path)
        } else {
            state = try SendJournal.resumed(found, path: path, input: input, head: head)
            // A torn last record would spoil the next one.
            let whole = (found.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
            guard ftruncate(descriptor, whole) == 0 else { throw SendJournal.failure(path) }
            lseek(descriptor, 0, SEEK_END)
        }
    }

    deinit { close(descriptor) }

    /// Remembers acknowledged lines on stable storage.
    func acknowledge(_ lines: [Int], mark: SendState.Mark) throws {
        guard !lines.isEmpty else { return }
        try append(state.acknowledge(lines, mark: mark))
    }

    private static func resumed(_ found: Data, path: String, input: Int32, head: SendState.Head) throws -> SendState {
        do {
            let state = try SendState(journal: found)
            try state.check(
                endpoint: head.endpoint, pool: head.pool, fileBytes: head.fileBytes, emails: head.emails
            ) {
                try digestOfPrefix(descriptor: input, bytes: $0)
            }
            return state
        } catch let mismatch as SendStateMismatch {
            throw CommandFailure(
                "state file '\(path)' cannot be used: \(mismatch.text); --restart sends the whole file anew, "
                    + "--state names another state file")
        }
    }

    private func append(_ bytes: Data) throws {
        try bytes.withUnsafeBytes { raw in
            var rest = raw[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw SendJournal.failure(path) }
                rest = rest.dropFirst(count)
            }
        }
        guard fdatasync(descriptor) == 0 else { throw SendJournal.failure(path) }
    }

    private static func syncDirectory(of path: String) throws {
        let directory = path.contains("/") ? String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]) : "."
        let descriptor = open(directory.isEmpty ? "/" : directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure(path) }
    }

    private static func failure(_ path: String) -> CommandFailure {
        CommandFailure(
            "state file '\(path)' cannot be written: \(systemMessage(errno))", status: ExitStatus.inputOutput)
    }
}

extension SendStateMismatch {
    /// What is wrong, for people.
    var text: String {
        switch self {
        case .unreadable: "it is not a state of this version"
        case .otherTarget(_, let pool): "it belongs to another endpoint or pool (pool \(pool))"
        case .otherKind: "it is of messages where --emails is given now, or of emails where it is not"
        case .otherSize(let recorded, let found): "the file had \(recorded) bytes and now has \(found)"
        case .otherContent: "the part of the file that was sent has changed"
        }
    }
}
