// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOHTTPTypes

/// How far the decoder's connection is with its request, so that slow ones can be told from busy ones. Pure: bytes, what
/// the decoder has of them, and the time in.
struct DecoderProgress: Hashable, Sendable {
    /// What passed between the decoder and those behind it.
    enum Step: Hashable, Sendable {
        case head(isStream: Bool)
        case requestEnded
        case answerEnded
    }

    /// Whether anything of a request has come since the last one ended.
    private var hasBytes = false
    private var arrival: ArrivalPace
    private var since: NIODeadline
    private var isStream = false
    private var isAnswering = false
    /// Whether bytes are asked for: where nobody reads, it is not the client who is slow.
    var isReading = true
    /// Whether a request's head has come and its end has not.
    private(set) var isArriving = false
    /// Bytes that came of a request after its answer: they are thrown away.
    private(set) var left = 0

    init(now: NIODeadline) {
        arrival = ArrivalPace(now: now)
        since = now
    }

    mutating func arrived(_ bytes: Int, _ now: NIODeadline) {
        if !hasBytes {
            hasBytes = true
            arrival = ArrivalPace(now: now)
        }
        arrival.arrived(bytes)
        if isArriving, !isAnswering { left += bytes }
    }

    mutating func step(_ step: Step, _ now: NIODeadline) {
        switch step {
        case .head(let isStream):
            isArriving = true
            isAnswering = true
            self.isStream = isStream
        case .requestEnded:
            isArriving = false
            hasBytes = false
            left = 0
        case .answerEnded:
            isAnswering = false
            since = now
        }
    }

    /// Whether the connection waited too long for its client, and what for.
    mutating func overdue(_ now: NIODeadline, _ limits: DoorLimits) -> ConnectionCounters.Reason? {
        if isArriving || hasBytes && !isAnswering {
            guard isReading else {
                arrival.excuse(now: now)
                return nil
            }
            let isStalled = arrival.isStalled(
                hasHead: isArriving, mayPause: isStream && isAnswering, now: now, limits: limits)
            return isStalled ? .slowRequest : nil
        }
        return !isAnswering && now - since > .seconds(Int64(limits.idleSeconds)) ? .idle : nil
    }
}

/// Watches requests and answers between the decoder and Hummingbird.
final class DecoderWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private static let queryError = HTTPField.Name("x-amzn-query-error")

    private let door: FrontDoor
    private let counters: RequestCounters

    init(door: FrontDoor, counters: RequestCounters) {
        self.door = door
        self.counters = counters
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            let type = head.headerFields[.contentType]?.lowercased()
            door.decoding(.head(isStream: type?.hasPrefix("application/x-ndjson") ?? false))
        case .body: break
        case .end: door.decoding(.requestEnded)
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let error = head.status == .forbidden ? DecoderWatch.queryError.flatMap { head.headerFields[$0] } : nil
            counters.count(status: head.status.code, error: error)
        case .body: break
        case .end: door.decoding(.answerEnded)
        }
        context.write(data, promise: promise)
    }
}
