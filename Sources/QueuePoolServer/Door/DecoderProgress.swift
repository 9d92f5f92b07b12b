// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOHTTPTypes

// How far the decoder's connection is with its request, so that slow ones can be told from busy ones. Written by two
// handlers of one channel, on its event loop.

final class DecoderProgress {
    /// Whether anything of a request has come since the last one ended.
    private var hasBytes = false
    private var arrival = ArrivalPace(now: .now())
    private var since = NIODeadline.now()
    private var isStream = false
    private var isAnswering = false
    /// Whether bytes are asked for: where nobody reads, it is not the client who is slow.
    var isReading = true
    private(set) var isArriving = false

    func arrived(_ bytes: Int) {
        if !hasBytes {
            hasBytes = true
            arrival = ArrivalPace(now: .now())
        }
        arrival.arrived(bytes)
    }

    fileprivate func headArrived(isStream: Bool) {
        isArriving = true
        isAnswering = true
        self.isStream = isStream
    }

    fileprivate func requestEnded() {
        isArriving = false
        hasBytes = false
    }

    fileprivate func answerEnded() {
        isAnswering = false
        since = .now()
    }

    /// Whether the connection waited too long for its client, and what for.
    func overdue(_ now: NIODeadline, _ limits: DoorLimits) -> ConnectionCounters.Reason? {
        if isArriving || hasBytes && !isAnswering {
            guard isReading else {
                arrival.excuse(now: now)
                return nil
            }
            let isStalled = arrival.isStalled(hasHead: isArriving, mayPause: isStream, now: now, limits: limits)
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

    private let progress: DecoderProgress
    private let counters: RequestCounters

    init(progress: DecoderProgress, counters: RequestCounters) {
        self.progress = progress
        self.counters = counters
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            let type = head.headerFields[.contentType]?.lowercased()
            progress.headArrived(isStream: type?.hasPrefix("application/x-ndjson") ?? false)
        case .body: break
        case .end: progress.requestEnded()
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let error = head.status == .forbidden ? DecoderWatch.queryError.flatMap { head.headerFields[$0] } : nil
            counters.count(status: head.status.code, error: error)
        case .body: break
        case .end: progress.answerEnded()
        }
        context.write(data, promise: promise)
    }
}
