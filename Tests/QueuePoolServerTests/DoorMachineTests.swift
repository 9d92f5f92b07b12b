// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QueuePoolServer

private typealias Event = DoorMachine.Event
private typealias Effect = DoorMachine.Effect

private func second(_ number: Int) -> NIODeadline { .uptimeNanoseconds(UInt64(number) * 1_000_000_000) }

/// What is to follow from one event.
private struct Step: CustomTestStringConvertible {
    let event: Event
    let effects: [Effect]

    init(_ event: Event, _ effects: Effect...) {
        self.event = event
        self.effects = effects
    }

    var testDescription: String { "\(event)" }
}

/// One connection's story.
private struct Story: CustomTestStringConvertible {
    let name: String
    var refusal: ConnectionCounters.Reason?
    let steps: [Step]

    var testDescription: String { name }
}

private let plain = DoorMachine.Sight.plain(headBytes: 60, bodyBytes: 40, closes: false)
private let large = DoorMachine.Sight.plain(headBytes: 60, bodyBytes: 100_000, closes: false)
private let much = DoorMachine.waitingBytesMax + 1
/// A whole request comes, and the service has it.
private let begun = [
    Step(.arrived(100, at: second(0)), .look), Step(.seen(plain), .begin), Step(.begun), Step(.readComplete),
]
/// A request whose body is too large has its answer; then the answer is written.
private let tooLarge = [
    Step(.arrived(100, at: second(0)), .look),
    Step(.seen(.plain(headBytes: 60, bodyBytes: 3 << 20, closes: false)), .forget, .refuse(.tooLarge)),
    Step(.answered(at: second(0)), .writeLast, .measure), Step(.readComplete),
]
private let refused = tooLarge + [Step(.lastWritten, .closeOutput, .forget, .read)]
private let turned = [
    Step(.arrived(9, at: second(0)), .look),
    Step(.seen(.other), .passOn, .passReadComplete), Step(.readComplete),
]
/// An answer of 1,000 bytes of which none is read.
private let unread =
    begun + [
        Step(.answered(at: second(1)), .write, .flush), Step(.wrote(1_000)),
        Step(.writability(false, unread: 1_000, at: second(1)), .hold(.answers, 1_000)),
    ]

private let stories: [Story] = [
    // Requests and answers.
    Story(name: "a request that comes whole is begun, answered and flushed, and the next is read") {
        begun + [Step(.readAsked, .read), Step(.answered(at: second(1)), .write, .flush)] + begun
    },
    Story(name: "answers within the call go out together at the end of the read") {
        [
            Step(.arrived(200, at: second(0)), .look), Step(.seen(plain), .begin),
            Step(.answered(at: second(0)), .write), Step(.begun, .look), Step(.seen(plain), .begin),
            Step(.answered(at: second(0)), .write), Step(.begun), Step(.readComplete, .flush),
        ]
    },
    Story(name: "a channel that takes more again begins no second request within the first one's call") {
        [
            Step(.arrived(200, at: second(0)), .look), Step(.seen(plain), .begin),
            Step(.answered(at: second(0)), .write), Step(.writability(true, unread: 0, at: second(0))),
            Step(.begun, .look),
        ]
    },
    Story(name: "a second request waits for the first one's answer") {
        [
            Step(.arrived(200, at: second(0)), .look), Step(.seen(plain), .begin), Step(.begun, .hold(.requests, 100)),
            Step(.readComplete), Step(.answered(at: second(1)), .write, .flush, .look), Step(.seen(plain), .begin),
            Step(.begun, .hold(.requests, 0)),
        ]
    },
    Story(name: "a request in parts is looked at again when its length is there, not before") {
        [
            Step(.arrived(10, at: second(0)), .look), Step(.seen(.incomplete), .hold(.requests, 10)),
            Step(.arrived(60, at: second(0)), .look), Step(.seen(plain), .hold(.requests, 70)),
            Step(.arrived(29, at: second(0)), .hold(.requests, 99)), Step(.arrived(1, at: second(0)), .look),
            Step(.seen(plain), .begin), Step(.begun, .hold(.requests, 0)),
        ]
    },
    Story(name: "a request that asks for it is answered and the connection closed") {
        [
            Step(.arrived(100, at: second(0)), .look),
            Step(.seen(.plain(headBytes: 60, bodyBytes: 40, closes: true)), .begin), Step(.begun),
            Step(.answered(at: second(0)), .writeLast, .measure), Step(.unread(0)), Step(.lastWritten, .close),
            Step(.ended, .end), Step(.ended),
        ]
    },
    Story(name: "an answer that is the last one ends the connection, and what waits behind it is not begun") {
        [
            Step(.arrived(100, at: second(0)), .look), Step(.seen(plain), .begin), Step(.begun),
            Step(.arrived(100, at: second(0)), .hold(.requests, 100)),
            Step(.answered(at: second(0), isLast: true), .writeLast, .measure),
            Step(.lastWritten, .closeOutput, .forget, .hold(.requests, 0), .read),
        ]
    },
    Story(name: "a body beyond the limit is refused before it comes, with nothing after it") {
        [
            Step(.arrived(100, at: second(0)), .look),
            Step(.seen(.plain(headBytes: 60, bodyBytes: 3 << 20, closes: false)), .forget, .refuse(.tooLarge)),
            Step(.answered(at: second(0)), .writeLast, .measure),
            Step(.arrived(50, at: second(0)), .forget),
            Step(.lastWritten, .closeOutput, .forget, .read),
        ]
    },
    Story(name: "one connection too many is told so and closed", refusal: .tooMany) {
        [
            Step(.active, .count(.tooMany), .refuse(.tooManyConnections(.tooMany))),
            Step(.answered(at: second(0)), .writeLast, .measure), Step(.lastWritten, .close),
        ]
    },
    Story(name: "a request that all connections together have no room for is refused") {
        [
            Step(.arrived(100, at: second(0)), .look), Step(.seen(large), .hold(.requests, 100)),
            Step(.held(.requests, isWithin: false), .look),
            Step(.seen(large), .forget, .hold(.requests, 0), .refuse(.noRoom)),
            Step(.held(.requests, isWithin: true)), Step(.answered(at: second(0)), .writeLast, .measure),
        ]
    },
    Story(name: "half a head that there is no room for is cut") {
        [
            Step(.arrived(10, at: second(0)), .look), Step(.seen(.incomplete), .hold(.requests, 10)),
            Step(.held(.requests, isWithin: false), .look), Step(.seen(.incomplete), .close),
        ]
    },
    Story(name: "what waits behind a request and has no room is cut") {
        begun + [
            Step(.arrived(10, at: second(0)), .hold(.requests, 10)), Step(.held(.requests, isWithin: false), .close),
        ]
    },
    // After the last answer.
    Story(name: "what comes of a refused request is thrown away until the client's end, and takes no room") {
        refused + [
            Step(.arrived(1 << 20, at: second(1)), .forget), Step(.readComplete, .read), Step(.readAsked, .read),
            Step(.ticked(at: second(1), unread: 0)), Step(.inputClosed, .close), Step(.ended, .end),
        ]
    },
    Story(name: "a client that says all before it has its last answer is closed at once") {
        tooLarge + [Step(.inputClosed, .endLife), Step(.lastWritten, .close)]
    },
    Story(name: "of a refused request no more than so much is thrown away") {
        refused + [
            Step(.arrived((64 << 20) - 100, at: second(1)), .forget), Step(.readComplete, .read),
            Step(.arrived(1, at: second(1)), .forget, .count(.slowRequest), .close),
        ]
    },
    Story(name: "the bound is the same before the answer is written") {
        tooLarge + [
            Step(.arrived((64 << 20) - 100, at: second(1)), .forget),
            Step(.arrived(1, at: second(1)), .forget, .count(.slowRequest), .close), Step(.lastWritten),
        ]
    },
    Story(name: "a refused request that comes too slowly is cut, one that keeps coming is not") {
        refused + [
            Step(.arrived(40_960, at: second(9)), .forget), Step(.ticked(at: second(10), unread: 0)),
            Step(.arrived(40_959, at: second(19)), .forget),
            Step(.ticked(at: second(20), unread: 0), .count(.slowRequest), .close),
        ]
    },
    Story(name: "a refused request that keeps coming is cut after the idle time") {
        refused
            + (1...7).flatMap { step in
                [
                    Step(.arrived(50_000, at: second(10 * step)), .forget),
                    Step(.ticked(at: second(10 * step), unread: 0)),
                ]
            } + [Step(.ticked(at: second(76), unread: 0), .count(.slowRequest), .close)]
    },
    Story(name: "what comes behind the last request is thrown away, so that it does not take the answer away") {
        [
            Step(.arrived(150, at: second(0)), .look),
            Step(.seen(.plain(headBytes: 60, bodyBytes: 40, closes: true)), .begin),
            Step(.begun, .hold(.requests, 50)), Step(.answered(at: second(0)), .writeLast, .measure),
            Step(.lastWritten, .closeOutput, .forget, .hold(.requests, 0), .read),
            Step(.ticked(at: second(10), unread: 0), .count(.idle), .close),
        ]
    },
    Story(name: "one connection too many does not stay for the rest of its request", refusal: .tooMany) {
        [
            Step(.active, .count(.tooMany), .refuse(.tooManyConnections(.tooMany))),
            Step(.answered(at: second(0)), .writeLast, .measure), Step(.arrived(9, at: second(0)), .hold(.requests, 9)),
            Step(.lastWritten, .close),
        ]
    },
    Story(name: "what the decoder's client says behind the last answer is thrown away until its end") {
        turned + [
            Step(.decoding(.head(isStream: false), at: second(1))), Step(.decoding(.answerEnded, at: second(1))),
            Step(.outputClosed(at: second(1)), .forget, .read), Step(.arrived(1_000, at: second(1)), .forget),
            Step(.readComplete, .read), Step(.inputClosed, .close),
        ]
    },
    Story(name: "the decoder's client that owes the rest is cut when it is slow, and not while it reads its answer") {
        turned + [
            Step(.decoding(.head(isStream: true), at: second(1))), Step(.decoding(.answerEnded, at: second(1))),
            Step(.wrote(5_000)), Step(.outputClosed(at: second(1)), .forget, .read),
            Step(.ticked(at: second(11), unread: 4_000), .hold(.answers, 4_000)),
            Step(.ticked(at: second(16), unread: 0), .hold(.answers, 0)), Step(.ticked(at: second(20), unread: 0)),
            Step(.ticked(at: second(21), unread: 0), .count(.slowRequest), .close),
        ]
    },
    Story(name: "a client that has its last answer has a moment when the server stops") {
        refused + [Step(.quiesce, .awaitGrace), Step(.graceOver, .close)]
    },
    Story(name: "the decoder's last answer during the server's stop has a moment") {
        turned + [
            Step(.quiesce, .passQuiesce), Step(.outputClosed(at: second(1)), .forget, .awaitGrace, .read),
            Step(.graceOver, .close),
        ]
    },
    Story(name: "of what the decoder throws away after an answer there is no more than so much") {
        turned + [
            Step(.decoding(.head(isStream: false), at: second(1))), Step(.arrived(1 << 30, at: second(1)), .passOn),
            Step(.decoding(.answerEnded, at: second(1))), Step(.arrived(64 << 20, at: second(1)), .passOn),
            Step(.arrived(1, at: second(1)), .count(.slowRequest), .close),
        ]
    },
    Story(name: "what the decoder throws away is counted for each request") {
        turned
            + (1...3).flatMap { _ in
                [
                    Step(.decoding(.head(isStream: false), at: second(1))),
                    Step(.decoding(.answerEnded, at: second(1))), Step(.arrived(40 << 20, at: second(1)), .passOn),
                    Step(.decoding(.requestEnded, at: second(1))),
                ]
            }
    },
    // Reading.
    Story(name: "behind a request under way no more is read than may wait, until it is answered") {
        begun + [
            Step(.readAsked, .read), Step(.arrived(much, at: second(0)), .hold(.requests, much)), Step(.readComplete),
            Step(.readAsked), Step(.answered(at: second(1)), .write, .flush, .look), Step(.seen(.incomplete), .read),
        ]
    },
    Story(name: "what was held behind a first request is read on when little waits behind the second") {
        begun + [
            Step(.arrived(much, at: second(0)), .hold(.requests, much)), Step(.readComplete), Step(.readAsked),
            Step(.answered(at: second(1)), .write, .flush, .look),
            Step(.seen(.plain(headBytes: 1, bodyBytes: much - 1, closes: false)), .begin),
            Step(.begun, .hold(.requests, 0), .read),
        ]
    },
    Story(name: "an answer within the call that fills the channel is flushed before the next request is begun") {
        [
            Step(.arrived(200, at: second(0)), .look), Step(.seen(plain), .begin),
            Step(.answered(at: second(0)), .write), Step(.begun, .look),
            Step(.writability(false, unread: 9, at: second(0)), .hold(.answers, 9)),
            Step(.seen(plain), .hold(.requests, 100), .flush),
            Step(.writability(true, unread: 0, at: second(0)), .hold(.answers, 0), .look), Step(.seen(plain), .begin),
        ]
    },
    Story(name: "what waited for the decoder's sake is read on when it has the connection") {
        begun + [
            Step(.arrived(much, at: second(0)), .hold(.requests, much)), Step(.readComplete), Step(.readAsked),
            Step(.answered(at: second(1)), .write, .flush, .look),
            Step(.seen(.other), .passOn, .passReadComplete, .hold(.requests, 0), .read),
        ]
    },
    Story(name: "no request is begun until the client reads what it was sent") {
        unread + [
            Step(.arrived(much, at: second(2)), .hold(.requests, much)), Step(.readComplete), Step(.readAsked),
            Step(.writability(true, unread: 0, at: second(3)), .hold(.answers, 0), .look),
            Step(.seen(plain), .begin), Step(.begun, .hold(.requests, much - 100), .read),
            Step(.answered(at: second(3)), .write, .flush, .look), Step(.seen(.incomplete)),
        ]
    },
    Story(name: "a client that does not read is cut when there is no room") {
        unread + [Step(.held(.answers, isWithin: false), .close)]
    },
    // The decoder.
    Story(name: "what is not plain is the decoder's for good") {
        turned + [Step(.arrived(100, at: second(0)), .passOn), Step(.readComplete), Step(.readAsked, .read)]
    },
    Story(name: "the decoder is told of the client's end and of the server's") {
        turned + [Step(.quiesce, .passQuiesce), Step(.inputClosed, .endLife, .passInputClosed), Step(.ended, .end)]
    },
    Story(name: "a connection that is turned over while the server stops is stopped by the decoder") {
        [
            Step(.arrived(10, at: second(0)), .look), Step(.seen(.incomplete), .hold(.requests, 10)),
            Step(.quiesce, .awaitGrace), Step(.arrived(10, at: second(0)), .look),
            Step(.seen(.other), .passOn, .passReadComplete, .passQuiesce, .hold(.requests, 0)), Step(.graceOver),
        ]
    },
    // Ends.
    Story(name: "a client that has said all is answered, and what was taken for it is given back") {
        begun + [
            Step(.inputClosed, .endLife), Step(.answered(at: second(1)), .takeBack, .writeLast, .measure),
            Step(.lastWritten, .close),
        ]
    },
    Story(name: "what was taken for a client that is gone is given back, and nothing written") {
        begun + [Step(.ended, .end), Step(.answered(at: second(1)), .takeBack)]
    },
    Story(name: "a client that has nothing under way and says no more is closed") {
        [Step(.inputClosed, .close), Step(.arrived(1, at: second(0)), .forget), Step(.quiesce), Step(.inputClosed)]
    },
    Story(name: "an idle connection is closed when the server stops") { [Step(.quiesce, .close)] },
    Story(name: "a request under way is answered when the server stops, and the connection closed") {
        begun + [Step(.quiesce), Step(.answered(at: second(1)), .writeLast, .measure), Step(.lastWritten, .close)]
    },
    Story(name: "half a request has a moment when the server stops") {
        [
            Step(.arrived(10, at: second(0)), .look), Step(.seen(.incomplete), .hold(.requests, 10)),
            Step(.quiesce, .awaitGrace), Step(.graceOver, .close),
        ]
    },
    // Deadlines.
    Story(name: "an idle connection is cut after its time, which begins with the last answer") {
        begun + [
            Step(.answered(at: second(50)), .write, .flush), Step(.ticked(at: second(125), unread: 0)),
            Step(.ticked(at: second(126), unread: 0), .count(.idle), .close), Step(.ticked(at: second(500), unread: 0)),
        ]
    },
    Story(name: "half a head is cut after its time") {
        [
            Step(.arrived(10, at: second(100)), .look), Step(.seen(.incomplete), .hold(.requests, 10)),
            Step(.ticked(at: second(110), unread: 0)),
            Step(.ticked(at: second(111), unread: 0), .count(.slowRequest), .close),
        ]
    },
    Story(name: "a body that comes too slowly is cut, one that keeps coming is not") {
        [
            Step(.arrived(100, at: second(0)), .look), Step(.seen(large), .hold(.requests, 100)),
            Step(.arrived(40_860, at: second(9)), .hold(.requests, 40_960)), Step(.ticked(at: second(10), unread: 0)),
            Step(.arrived(40_959, at: second(19)), .hold(.requests, 81_919)),
            Step(.ticked(at: second(20), unread: 0), .count(.slowRequest), .close),
        ]
    },
    Story(name: "a request under way has no deadline here") {
        begun + [Step(.ticked(at: second(1_000), unread: 0)), Step(.answered(at: second(1_000)), .write, .flush)]
    },
    Story(name: "a client that reads nothing is cut after its time") {
        unread + [
            Step(.ticked(at: second(5), unread: 1_000)), Step(.ticked(at: second(14), unread: 1_000)),
            Step(.ticked(at: second(15), unread: 1_000), .count(.slowReader), .close),
        ]
    },
    Story(name: "the decoder's request and its idle client have the same deadlines") {
        turned + [
            Step(.readAsked, .read), Step(.ticked(at: second(10), unread: 0)),
            Step(.ticked(at: second(11), unread: 0), .count(.slowRequest), .close),
        ]
    },
    Story(name: "the decoder's connection is idle from its last answer on") {
        turned + [
            Step(.decoding(.head(isStream: false), at: second(1))), Step(.decoding(.requestEnded, at: second(1))),
            Step(.ticked(at: second(100), unread: 0)), Step(.decoding(.answerEnded, at: second(200))),
            Step(.ticked(at: second(275), unread: 0)), Step(.ticked(at: second(276), unread: 0), .count(.idle), .close),
        ]
    },
]

extension Story {
    init(name: String, refusal: ConnectionCounters.Reason? = nil, _ steps: () -> [Step]) {
        self.init(name: name, refusal: refusal, steps: steps())
    }
}

@Suite struct `The door's decisions` {
    @Test(arguments: stories) fileprivate func `are these`(story: Story) {
        var machine = DoorMachine(limits: DoorLimits(), refusal: story.refusal, now: second(0))
        for (index, step) in story.steps.enumerated() {
            var effects: [Effect] = []
            machine.handle(step.event, &effects)
            #expect(effects == step.effects, "step \(index), \(step.event)")
        }
    }
}
