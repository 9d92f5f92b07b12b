// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import QueuePoolCore
import Synchronization

/// Writes lines to a file, in the order in which they come. Lines that come side by side do not mix; those that come
/// while a write is under way leave together with the next; a reader that is slow blocks this writer's thread alone.
final class LineWriter: Sendable {
    private struct Line {
        let bytes: [UInt8]
        let done: CheckedContinuation<DeliveryOutcome, Never>
    }

    private struct State {
        var waiting: [Line] = []
        var isWriting = false
    }

    /// Lines beyond this many bytes leave with the next write.
    private static let bytesMax = 1 << 20
    private let file: Int32
    private let queue: DispatchQueue
    private let state = Mutex(State())

    init(label: String, file: Int32 = STDOUT_FILENO) {
        self.file = file
        queue = DispatchQueue(label: label)
    }

    /// - Parameter line: with its end.
    /// - Returns: `delivered` once all of it is written.
    func write(_ line: [UInt8]) async -> DeliveryOutcome {
        await withCheckedContinuation { continuation in
            let mustStart = state.withLock { state in
                state.waiting.append(Line(bytes: line, done: continuation))
                defer { state.isWriting = true }
                return !state.isWriting
            }
            if mustStart { queue.async { [self] in writeAll() } }
        }
    }

    private func writeAll() {
        while true {
            let lines = state.withLock { state in
                var bytes = 0
                let end = state.waiting.firstIndex { line in
                    defer { bytes += line.bytes.count }
                    return bytes >= LineWriter.bytesMax
                }
                let taken = Array(state.waiting[..<(end ?? state.waiting.endIndex)])
                state.waiting.removeFirst(taken.count)
                state.isWriting = !taken.isEmpty
                return taken
            }
            guard !lines.isEmpty else { return }
            let (written, failure) = LineWriter.write(
                lines.count == 1 ? lines[0].bytes : Array(lines.map(\.bytes).joined()), to: file)
            var end = 0
            for line in lines {
                end += line.bytes.count
                line.done.resume(returning: end <= written ? .delivered : failure ?? .delivered)
            }
        }
    }

    /// Writes until all is out; a reader that is slow is waited for.
    /// - Returns: how many bytes are out, and why not all of them are.
    static func write(_ bytes: [UInt8], to file: Int32) -> (written: Int, failure: DeliveryOutcome?) {
        var written = 0
        while written < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.write(file, $0.baseAddress.map { $0 + written }, $0.count - written)
            }
            if count >= 0 {
                written += count
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                // Somebody who shares the pipe or the terminal made it so.
                var room = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                poll(&room, 1, -1)
            // No reader will ever come back: no message is to blame, and none can be delivered.
            case EPIPE, EBADF: return (written, .ended(errorClass: "stdout-closed"))
            case let code: return (written, .failed(errorClass: "stdout-\(code)"))
            }
        }
        return (written, nil)
    }
}
