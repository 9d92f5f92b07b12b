// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import NIOCore
import NIOHTTPTypes

// How far the decoder's connection is with its request, so that slow ones can be told from busy ones. Written by two
// handlers of one channel, on its event loop.

final class DecoderProgress {
    /// Bytes since the last request began to arrive.
    var arrivedBytes = 0
    var since = NIODeadline.now()
    var isReading = true
    var hasHead = false
    var isArriving = false
    var isAnswering = false

    /// Whether the connection waited too long for its client.
    func isOverdue(_ now: NIODeadline, _ limits: DoorLimits) -> Bool {
        let seconds = Int((now - since).nanoseconds / 1_000_000_000)
        if isArriving {
            // Where nobody reads, it is not the client who is slow.
            guard isReading else { return false }
            return arrivedBytes < (seconds - limits.headSeconds) * limits.bodyBytesPerSecondMin
        }
        if isAnswering { return false }
        return seconds > (arrivedBytes > 0 ? limits.headSeconds : limits.idleSeconds)
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
        case .head:
            progress.isArriving = true
            progress.isAnswering = true
            progress.since = .now()
        case .body: break
        case .end:
            progress.isArriving = false
            progress.arrivedBytes = 0
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head):
            let error = head.status == .forbidden ? DecoderWatch.queryError.flatMap { head.headerFields[$0] } : nil
            counters.count(status: head.status.code, error: error)
        case .body: break
        case .end:
            progress.isAnswering = false
            progress.since = .now()
        }
        context.write(data, promise: promise)
    }
}
