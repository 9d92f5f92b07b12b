// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

#if DEBUG
    #if canImport(Glibc)
        import Glibc
    #elseif canImport(Musl)
        import Musl
    #else
        import Darwin
    #endif
#endif

// Whether tests would notice a fault is found out by putting faults in, one at a time (DeMillo, Lipton and Sayward 1978).
// Each case here is one, at the place in the code that asks for it; a debug build has it while the environment's
// QUEUEPOOL_MUTATION is its number. Release builds have none: there every question is `false` before it is compiled.
// `infra/mutate` runs the simulation against each; what became of it is in Tests/Simulation/Mutations/mutations.md.

/// A deliberate fault. Its number never changes and is never given to another.
public enum Mutation: Int, CaseIterable, Sendable {
    // MARK: - The embedded shard: commits

    /// A turn is answered as stored before it is written.
    case answerBeforeWrite = 1
    /// A commit that failed is answered and published as if it had not.
    case failedCommitIsSuccess = 2
    /// Sends that were left out of a commit for lack of room are answered as stored.
    case refusedForRoomIsSuccess = 3
    /// Messages of a commit that failed can be received; their senders are told the truth.
    case failedCommitIsPublished = 4
    /// A second delete of a message is answered as done although the first one's commit failed.
    case deleteUnderWayIsDone = 5

    // MARK: - The embedded shard: log and opening

    /// Deduplication keys are removed from the log with the block that they came in.
    case keysGoWithTheirBlock = 6
    /// Rows of deletions are removed while blocks with their messages are still in the log.
    case deletionRowsGoTooEarly = 7
    /// An opening takes up no deduplication key of a block.
    case keysAreForgotten = 8
    /// An opening takes up no deletion.
    case deletionsAreForgotten = 9
    /// A shard's time may run back over a restart.
    case shardTimeRunsBack = 10

    // MARK: - The queue

    /// A handle of an earlier delivery counts as that of the last one.
    case expiredHandlesCount = 11
    /// A handle from before a crash counts after it.
    case handlesOutliveOpenings = 12
    /// Visibility timeouts last a quarter of what was asked for.
    case timeoutTooShort = 13
    /// While a group's oldest message is in flight, its newest is given out.
    case heldHeadIsPassed = 14
    /// Of the messages of a group that a receive gives out, only the first becomes invisible.
    case followersStayVisible = 15
    /// Deduplication ids count for three seconds.
    case deduplicationTooShort = 16
    /// The time for which a queue was closed counts for its deduplication ids.
    case stopsCountForIDs = 17
    /// Two sends with one deduplication id in one commit are both stored.
    case twinsInACommit = 18
    /// Every message of a commit gets the body of its first one.
    case bodiesOverlap = 19
    /// Sequence numbers begin anew with each millisecond, and run back with the clock.
    case sequenceRunsBack = 20
    /// A message whose deletion could not be written is gone from memory.
    case failedDeleteIsDone = 21
    /// An extension is answered and not done, and neither is a release.
    case extensionIsIgnored = 22
    /// A message whose visibility timeout ends by itself is not given out again.
    case endedTimeoutIsMissed = 23

    // MARK: - Requests of senders, and batches

    /// Entries behind a failed one of their group in a request are sent.
    case laterEntriesLeave = 24
    /// A request's entries stand in line the wrong way round.
    case requestReversed = 25
    /// A failed batch is not noted for the later parts of its requests.
    case batchFailureIsNotNoted = 26
    /// An entry that is not sent because an earlier one failed is never told.
    case refusalIsNotTold = 27

    // MARK: - Requests to queues that answer for each entry

    /// A failed entry is not noted for the later ones of its group and request.
    case entryFailureIsNotNoted = 28
    /// A request without an answer counts as one that was not carried out.
    case doubtIsForgotten = 29
    /// The followers of an entry that failed are sent before it is sent again.
    case followersBeforeRetry = 30
    /// An entry in doubt whose repetition is refused counts as refused.
    case refusalEndsDoubt = 31
    /// A shard that fails is asked again at once.
    case failingShardIsStormed = 32
    /// The answers of a request go to its entries in the wrong order.
    case answersSwapped = 33
    /// A request has two messages of one group.
    case twoOfAGroup = 34
    /// An entry in flight leaves its place at its deadline.
    case deadlineReleasesFlight = 35
    /// An entry in doubt leaves its place at its deadline.
    case deadlineReleasesDoubt = 36
    /// An entry in doubt keeps its place for no longer than its sender waits.
    case doubtTooShort = 37
    /// At its deadline an entry that may be stored is told to have failed.
    case lateIsRefused = 38

    /// More requests leave than the quota allows.
    case quotaIsIgnored = 39

    // MARK: - The way to a shard, and receivers that wait

    /// While messages of a slot are under way, others of it go to the pool's first shard.
    case busySlotGoesElsewhere = 40
    /// A slot whose messages were all answered counts as busy.
    case slotTrafficNeverEnds = 41
    /// A message that comes in wakes no receiver.
    case wakeUpIsLost = 42
    /// A message that becomes visible by itself wakes no receiver.
    case visibleMessageWakesNobody = 43
    /// A receiver that was answered looks again, and takes messages that nobody hears of.
    case servedReceiverWaitsOn = 44
    /// What was kept for a receiver is given out after its visibility timeout.
    case keptMessagesNeverAge = 45

    // MARK: - Messages of long polls at remote queues

    /// What a poll brought is given out however long it lay.
    case polledMessagesNeverAge = 46
    /// What lay for a while is given out with what is left of its visibility timeout.
    case polledTimeoutIsNotRenewed = 47
    /// What a poll brought of one group goes to two receivers.
    case polledGroupIsSplit = 48
    /// What nobody took is made visible first message first.
    case polledReleasedForwards = 49
    /// What a poll brought wakes nobody.
    case pollWakesNobody = 50

    // MARK: - Answers of remote queues

    /// A send whose answer was lost is told to have failed.
    case lostAnswerIsFailure = 51
    /// A message that is stored with another digest than that of what was sent counts as stored.
    case digestIsIgnored = 52
    /// A delete whose request failed is answered as done.
    case failedDeleteRequestIsDone = 53
    /// A delete whose handle has expired is answered as done.
    case expiredDeleteIsDone = 54
    /// An extension whose request failed is answered as done.
    case failedExtensionIsDone = 55

    // MARK: - The worker: order of a group

    /// The next message begins before its predecessor's delete is answered.
    case nextBeforeDelete = 56
    /// A group whose visibility timeout ran out goes on.
    case lapsedGroupGoesOn = 57
    /// Visibility timeouts are never extended.
    case extensionForgotten = 58
    /// That an extension was refused for a message is overlooked.
    case lostExtensionOverlooked = 59
    /// A delete that came too late counts as done.
    case lateDeleteCountsAsDone = 60
    /// When a message comes again, what was held behind it is not dropped.
    case followersOfRepeatedKept = 61
    /// A group is given back first message first.
    case releasedForwards = 62

    // MARK: - The worker: ends of messages

    /// A message counts as dead-lettered though the dead-letter queue did not take it.
    case deadLetterUnstored = 63
    /// A message is given up after its first failure.
    case givenUpAtOnce = 64
    /// A message is never given up.
    case neverGivenUp = 65
    /// A target's "not now" counts as delivery.
    case failureIsDelivery = 66
    /// A delivery that could not begin counts as delivery.
    case unreachedIsDelivery = 67
    /// A message that was delivered and whose delete failed is delivered again when it comes again.
    case deliveredForgotten = 68
    /// A delete that failed is not tried again.
    case failedDeleteForgotten = 69
    /// A batch of deletes leaves while the one before is under way.
    case deletesOverlap = 70
    /// A group whose head is done with never gets another turn.
    case turnForgotten = 71
    /// A message that failed is never tried again.
    case retryForgotten = 72

    // MARK: - The worker: targets

    /// A message that may have arrived at one target goes to another.
    case targetPinForgotten = 73
    /// The same, only where its group was lost in between.
    case unsettledForgotten = 74
    /// A target that cannot be reached is tried with every message.
    case breakerNeverOpens = 75
    /// A target that answers again is not used again.
    case breakerNeverCloses = 76
    /// A target that failed three times is never probed.
    case breakerNeverProbes = 77

    // MARK: - Sending: deadlines

    /// What waits for a whole batch has no deadline.
    case batchDeadlineIgnored = 78

    // MARK: - The worker: leases

    /// A heartbeat counts for the whole term after which others remove it.
    case leaseWithoutMargin = 79
    /// A beat that is sent again counts from then.
    case beatCountsFromRepetition = 80
    /// A heartbeat is removed when it is seen for the second time.
    case livingWorkerRemoved = 81
    /// A lease is taken from an owner that lives.
    case livingOwnerRobbed = 82
    /// A shard is begun before the store has answered that it is the worker's.
    case begunBeforeAnswer = 83
    /// A shard goes to its next worker while it is being drained.
    case givenAwayUndrained = 84
    /// Shards are given to workers that are leaving.
    case leavingIsIgnored = 85
    /// A worker that lost its heartbeat works on with what it had.
    case newLifeKeepsLeases = 86
    /// A plan counts a shard as its owner's though it is promised to another worker.
    case nextIsIgnored = 87
    /// A worker does not look whether its heartbeat still counts, but before deliveries.
    case lapseIsOverlooked = 88
    /// Rows of deletions are removed while finished blocks with their messages wait in the log for their neighbours.
    case waitingBlocksNeedNoDeletions = 89
    /// A row of a sealed log is sealed for the number after its own.
    case sealedForNextRow = 90

    #if DEBUG
        /// The one that the environment asks for; 0 for none.
        private static let number: Int = {
            guard let text = getenv("QUEUEPOOL_MUTATION") else { return 0 }
            return Int(atol(text))
        }()

        /// Whether the process has this fault.
        public var isOn: Bool { Mutation.number == rawValue }
    #else
        /// Whether the process has this fault: never.
        @inlinable @inline(__always) public var isOn: Bool { false }
    #endif
}
