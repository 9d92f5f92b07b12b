// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSQS
import Synchronization

// A message whose body is missing stays invisible: its receives are counted, and it ends in the dead-letter queue like
// any other that nobody can work on. Later messages of its group are given back, for they must not overtake it (I2).

/// What became of messages whose bodies may lie elsewhere.
package struct ResolvedMessages: Sendable {
    /// In their order, each whole; those whose body was read have `pointer`.
    package var messages: [ReceivedMessage] = []
    /// Not handed out because they did not fit, or because one before them in their group was not: to be made visible
    /// again, from the last to the first.
    package var left: [ReceivedMessage] = []
    /// Their bodies are gone. They stay invisible.
    package var missing: [ReceivedMessage] = []
    /// Their bodies could not be read now. They stay invisible until their timeout ends.
    package var unread: [ReceivedMessage] = []
}

/// Puts bodies in place of the pointers to them.
package struct BodyResolver: Sendable {
    private let place: @Sendable (BodyPointer) -> (any BodyStore)?
    private let bodyBytesMax: Int
    private let answerBytesMax: Int

    /// - Parameters:
    ///   - place: where a body lies; a message whose pointer it does not know is handed on as it is.
    ///   - bodyBytesMax: of a body that is read.
    ///   - answerBytesMax: bytes of all messages together, but for the first.
    package init(
        place: @escaping @Sendable (BodyPointer) -> (any BodyStore)?, bodyBytesMax: Int, answerBytesMax: Int
    ) {
        self.place = place
        self.bodyBytesMax = bodyBytesMax
        self.answerBytesMax = answerBytesMax
    }

    /// Whether a message might carry a pointer; no more than its head is read.
    static func mayPoint(_ message: ReceivedMessage) -> Bool {
        message.withView { $0.hasAttributes && $0.body.count <= BodyPointer.textBytesMax }
    }

    /// The pointer that a message carries, if it says that it carries one.
    package static func pointer(of message: ReceivedMessage) -> BodyPointer? {
        message.withView { view in
            guard view.hasAttributes, view.body.count <= BodyPointer.textBytesMax,
                view.attributes.contains(where: { BodyPointer.isSize($0.name) })
            else { return nil }
            return BodyPointer.read(view.body)
        }
    }

    /// Reads the bodies of messages.
    /// - Parameter completion: called once; within this call if no message has a pointer that is known.
    package func resolve(
        _ messages: [ReceivedMessage], completion: @escaping @Sendable (ResolvedMessages) -> Void
    ) {
        let found = messages.map { message in
            BodyResolver.pointer(of: message).flatMap { pointer in place(pointer).map { (pointer, $0) } }
        }
        guard found.contains(where: { $0 != nil }) else { return completion(ResolvedMessages(messages: messages)) }
        Run(self, messages, found, completion).step()
    }

    /// Reads one body after another: the room that is left is known only then.
    private final class Run: Sendable {
        private struct State {
            var next = 0
            var bytes = 0
            var stoppedGroups: Set<[UInt8]> = []
            var isFull = false
            var resolved = ResolvedMessages()
        }

        private let resolver: BodyResolver
        private let messages: [ReceivedMessage]
        private let found: [(BodyPointer, any BodyStore)?]
        private let completion: @Sendable (ResolvedMessages) -> Void
        private let state = Mutex(State())

        init(
            _ resolver: BodyResolver, _ messages: [ReceivedMessage], _ found: [(BodyPointer, any BodyStore)?],
            _ completion: @escaping @Sendable (ResolvedMessages) -> Void
        ) {
            self.resolver = resolver
            self.messages = messages
            self.found = found
            self.completion = completion
        }

        func step() {
            while true {
                let place = state.withLock { $0.next }
                guard place < messages.count else { return completion(state.withLock { $0.resolved }) }
                let message = messages[place]
                let group = message.withView { Array($0.group) }
                let allowed = state.withLock { state -> Int? in
                    if state.isFull || state.stoppedGroups.contains(group) {
                        leave(message, group, &state)
                        return nil
                    }
                    let room = resolver.answerBytesMax - state.bytes
                    if found[place] == nil {
                        if message.length > room, !state.resolved.messages.isEmpty {
                            state.isFull = true
                            leave(message, group, &state)
                        } else {
                            take(message, &state)
                        }
                        return nil
                    }
                    return state.resolved.messages.isEmpty ? resolver.bodyBytesMax : min(room, resolver.bodyBytesMax)
                }
                guard let allowed, let (pointer, store) = found[place] else { continue }
                return store.get(key: pointer.key, bytesMax: max(0, allowed)) { [self] result in
                    state.withLock { put(result, message, group, pointer, isFirst: $0.resolved.messages.isEmpty, &$0) }
                    step()
                }
            }
        }

        private func take(_ message: ReceivedMessage, _ state: inout State) {
            state.bytes += message.length
            state.resolved.messages.append(message)
            state.next += 1
        }

        private func leave(_ message: ReceivedMessage, _ group: [UInt8], _ state: inout State) {
            state.stoppedGroups.insert(group)
            state.resolved.left.append(message)
            state.next += 1
        }

        private func put(
            _ result: Result<[UInt8], BodyStoreError>, _ message: ReceivedMessage, _ group: [UInt8],
            _ pointer: BodyPointer, isFirst: Bool, _ state: inout State
        ) {
            switch result {
            case .success(let body): return take(message.with(body: body, of: pointer), &state)
            case .failure(.tooLarge) where !isFirst:
                state.isFull = true
                return leave(message, group, &state)
            case .failure(.missing), .failure(.tooLarge), .failure(.refused): state.resolved.missing.append(message)
            case .failure(.unavailable), .failure(.full): state.resolved.unread.append(message)
            }
            state.stoppedGroups.insert(group)
            state.next += 1
        }
    }
}

extension BodyPointer {
    /// Whether an attribute says how large the body is that a message points to.
    static func isSize(_ name: String) -> Bool { name == sizeAttribute || name == olderSizeAttribute }
}

extension ReceivedMessage {
    /// The message as its sender sent it.
    fileprivate func with(body: [UInt8], of pointer: BodyPointer) -> ReceivedMessage {
        let record = withView { view in
            body.withUnsafeBytes { body in
                MessageRecord(
                    group: Array(view.group), deduplicationID: Array(view.deduplicationID), body: body,
                    attributes: view.attributes.filter { !BodyPointer.isSize($0.name) },
                    systemAttributes: view.systemAttributes, bodyMD5: MD5Digest(of: body), origin: view.origin)
            }
        }
        return ReceivedMessage(
            handle: handle, messageID: messageID, receiveCount: receiveCount, firstReceivedAt: firstReceivedAt,
            storage: record.bytes, offset: 0, length: record.bytes.count, remote: remote, pointer: pointer)
    }
}
