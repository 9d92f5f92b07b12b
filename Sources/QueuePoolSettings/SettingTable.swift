// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// The one table of settings. A setting that is not here does not exist: its flag, variable or YAML key is refused.

extension Setting {
    // MARK: - Every command -

    package static let config = Setting(
        "config", flag: "config", .text, allowed: "path of a YAML file", commands: Set(SettingReaderCommand.allCases),
        text: "YAML file with settings; flags and environment variables win over it.")
    package static let logLevel = Setting(
        "log.level", flag: "log-level", .choice(["trace", "debug", "info", "notice", "warning", "error", "critical"]),
        fallback: "info", commands: [.serve, .work], text: "The least severe log lines that are written.")
    package static let logFormat = Setting(
        "log.format", flag: "log-format", .choice(["text", "json"]), fallback: "text", commands: [.serve, .work],
        text: "One line of text or one JSON object for each log line, on standard error.")

    // MARK: - The door -

    package static let listen = Setting(
        "server.listen", flag: "listen", .text, fallback: "127.0.0.1:9324",
        allowed: "HOST:PORT or [IPV6]:PORT, port 0...65535 (0 takes a free one)",
        text: "Address of REST, the SQS protocol, metrics and the console.")
    package static let allowInsecureListen = Setting(
        "server.allow-insecure-listen", flag: "allow-insecure-listen", .flag, fallback: "false",
        text: "Listen off loopback without TLS: whoever reaches the port may send, receive and purge, and whoever is "
            + "in between may read and change what goes over it.")
    package static let allowedHosts = Setting(
        "server.allowed-hosts", flag: "allowed-host", .list, allowed: "host names or addresses without a port",
        text: "A name that the server goes by besides this machine's own, for instance a proxy's: requests with "
            + "another Host are refused on loopback, and so are web pages of other origins everywhere.")
    package static let maxConnections = Setting(
        "server.max-connections", flag: "max-connections", .integer(1...100_000), fallback: "10000",
        text: "Connections open at once; further ones are refused.")
    package static let maxConnectionsPerAddress = Setting(
        "server.max-connections-per-address", flag: "max-connections-per-address", .integer(1...100_000),
        allowed: "1...100000",
        text: "Connections of one client address open at once; unless set, as many as there may be in "
            + "all on loopback, and a tenth of that elsewhere.")
    package static let heldBytesMax = Setting(
        "server.held-bytes-max", flag: "held-bytes-max", .integer(16_777_216...68_719_476_736), fallback: "268435456",
        text:
            "Bytes that the server holds for all clients together, of requests not yet whole and answers not yet read; "
            + "beyond it requests are answered 503.")
    package static let requestBytesMax = Setting(
        "server.request-bytes-max", flag: "request-bytes-max", .integer(1_024...134_217_728),
        allowed: "1024...134217728",
        text:
            "Largest body of one request in bytes; an NDJSON stream is bounded by its lines instead. Unless set, what "
            + "bodies.limit-bytes takes as base64, and 1 MiB.")
    package static let idleTimeout = Setting(
        "server.idle-timeout-seconds", flag: "idle-timeout-seconds", .integer(1...3_600), fallback: "75",
        text: "Seconds after which a connection without a request is closed; longer than the longest long poll (20).")
    package static let headerTimeout = Setting(
        "server.header-timeout-seconds", flag: "header-timeout-seconds", .integer(1...600), fallback: "15",
        text: "Seconds for a request's head to arrive; its body must bring 4096 bytes a second over each stretch of as "
            + "many seconds.")
    package static let drainSeconds = Setting(
        "server.drain-seconds", flag: "drain-seconds", .integer(0...3_600), fallback: "30",
        text: "Seconds a stop waits for accepted requests to be answered.")
    package static let idempotencyWindow = Setting(
        "server.idempotency-window-seconds", flag: "idempotency-window-seconds", .integer(300...604_800),
        fallback: "86400",
        text: "Seconds for which the answer to a request with an Idempotency-Key is kept; at least the 300 of "
            + "deduplication.")
    package static let idempotencyBytesMax = Setting(
        "server.idempotency-bytes-max", flag: "idempotency-bytes-max", .integer(1_048_576...17_179_869_184),
        fallback: "134217728",
        text: "Bytes of memory for idempotency keys, about 400 each; beyond that the oldest are dropped early.")
    package static let serverDeliver = Setting(
        "server.deliver", flag: "deliver", .list, allowed: Setting.deliverAllowed, isSecret: true,
        text: "Deliver in this process as well, to this target; several are a fallback order. " + Setting.deliverOptions
    )

    // MARK: - Pools and shards -

    package static let dataDirectory = Setting(
        "storage.data-dir", flag: "data-dir", .text, fallback: "./queuepool-data", allowed: "path of a directory",
        text: "Directory of the shards' files; made when it is missing.")
    package static let control = Setting(
        "storage.control", flag: "control", .text, allowed: "sqlite:FILE, dynamodb:TABLE",
        commands: [.serve, .work, .pool],
        text:
            "Where topologies and leases are kept; sqlite:control.sqlite in the data directory unless set. A worker that is "
            + "given it goes straight to the queues of Amazon SQS.")
    package static let awsEndpoint = Setting(
        "aws.endpoint-url", flag: "endpoint-url", .text, allowed: "http://HOST[:PORT] or https://HOST[:PORT]",
        commands: [.serve, .work, .pool], isSecret: true,
        text: "Address for all services of AWS; the region's own unless set here or by AWS_ENDPOINT_URL.")
    package static let awsRegion = Setting(
        "aws.region", flag: "region", .text, allowed: "a region's name such as eu-central-1",
        commands: [.serve, .work, .pool], text: "Region of AWS; the one of AWS_REGION or the profile unless set.")
    package static let pools = Setting(
        "pools", flag: "pool", .list, allowed: "NAME=SHARDS, NAME ending in .fifo, SHARDS 1...256",
        text: "A pool to make when it does not exist, such as emails.fifo=8; in YAML also a map from name to shards.")
    package static let maxPools = Setting(
        "storage.max-pools", flag: "max-pools", .integer(1...100_000), fallback: String(Defaults.poolsMax),
        text: "Pools that the server makes, dead-letter queues among them; those that exist are opened beyond it.")
    package static let maxShards = Setting(
        "storage.max-shards", flag: "max-shards", .integer(1...100_000), fallback: String(Defaults.shardsMax),
        text: "Shards of all pools together, those of dead-letter queues among them.")
    package static let waitingBytesTotalMax = Setting(
        "storage.waiting-bytes-total-max", flag: "waiting-bytes-total-max", .integer(16_777_216...68_719_476_736),
        fallback: String(Defaults.waitingBudgetBytes),
        text: "Bytes of memory for messages that wait for all shards together, 512 for each beside its own; a sender "
            + "beyond that gets 503 and Retry-After.")
    package static let cacheBytesTotalMax = Setting(
        "storage.cache-bytes-total-max", flag: "cache-bytes-total-max", .integer(1_048_576...68_719_476_736),
        fallback: String(Defaults.cacheBytes),
        text: "Bytes of messages that all shards together keep in memory for receives, each an equal part of it.")
    package static let deduplicationEntriesMax = Setting(
        "storage.deduplication-entries-max", flag: "deduplication-entries-max", .integer(1_000...10_000_000_000),
        allowed: "1000...10000000000",
        text: "Deduplication ids that all shards together remember, at most 56 bytes each for five minutes; a sender "
            + "beyond that gets 503 and Retry-After. Unless set, as many as fit in a quarter of the memory.")
    package static let createQueueShards = Setting(
        "pool.create-queue-shards", flag: "create-queue-shards", .integer(1...256), fallback: "1",
        text: "Shards of a pool that CreateQueue makes without the tag queuepool:shards.")
    package static let quota = Setting(
        "shard.quota", flag: "quota", .integer(1...1_000_000),
        text: "Requests per second and API action that a shard takes, a batch counting as one; no quota unless set.")
    package static let waitingEntriesMax = Setting(
        "shard.waiting-entries-max", flag: "waiting-entries-max", .integer(1...10_000_000),
        fallback: String(Defaults.waitingEntriesMax),
        text: "Messages that may wait for a shard; a sender beyond that gets 503 and Retry-After.")
    package static let waitingBytesMax = Setting(
        "shard.waiting-bytes-max", flag: "waiting-bytes-max", .integer(1_048_576...17_179_869_184),
        fallback: String(Defaults.waitingBytesMax), text: "Bytes of messages that may wait for a shard.")
    package static let cacheBytes = Setting(
        "shard.cache-bytes", flag: "cache-bytes", .integer(1_048_576...17_179_869_184),
        fallback: String(Defaults.shardCacheBytes),
        text: "Bytes of messages a shard keeps in memory so that a receive need not read the disk.")

    // MARK: - Large bodies -

    package static let bodies = Setting(
        "bodies.default", flag: "bodies", .text, allowed: "s3://BUCKET[/PREFIX]",
        text: "Where bodies go that are too large for a queue of Amazon SQS, of pools that name no place themselves; "
            + "embedded pools have a file in the data directory.")
    package static let bodiesThreshold = Setting(
        "bodies.threshold-bytes", flag: "bodies-threshold-bytes", .integer(1_024...1_048_576),
        allowed: "1024...1048576",
        text: "Bodies over so many bytes do not go to the queue; unless set, 262144 for queues of Amazon SQS, and for "
            + "embedded pools what a queue has no room for.")
    package static let bodiesLimit = Setting(
        "bodies.limit-bytes", flag: "body-bytes-max", .integer(1_048_576...67_108_864), fallback: "41943040",
        text: "Largest body of a message in bytes; S3 gets no more than 41943040.")

    // MARK: - Faults for tests -

    package static let injectLatency = Setting(
        "inject.latency-ms", flag: "inject-latency-ms", .integer(0...60_000), fallback: "0",
        text: "For tests: milliseconds that every shard waits before it answers.")
    package static let injectErrorRate = Setting(
        "inject.error-rate", flag: "inject-error-rate", .decimal(0...1), fallback: "0",
        text: "For tests: share of shard requests that fail.")

    // MARK: - Worker -

    package static let endpoint = Setting(
        "endpoint", flag: "endpoint", .text, fallback: "http://127.0.0.1:9324",
        allowed: "http://HOST[:PORT] or https://HOST[:PORT]", commands: [.work, .send, .pool], isSecret: true,
        text: "Address of the server.")
    package static let workerPool = Setting(
        "worker.pool", flag: "pool", .text, allowed: "the name of a pool, ending in .fifo", commands: [.work],
        text: "The pool to receive from.")
    package static let workerDeliver = Setting(
        "worker.deliver", flag: "deliver", .list, allowed: Setting.deliverAllowed, commands: [.work], isSecret: true,
        text: "Where messages are delivered; several are a fallback order. " + Setting.deliverOptions)
    package static let webhookSecretFile = Setting(
        "worker.webhook-secret-file", flag: "webhook-secret-file", .list,
        allowed: "paths of at most two files, each with whsec_ and 24 to 64 bytes in Base64",
        commands: [.serve, .work],
        text:
            "File of the secret that requests to webhooks are signed with (Standard Webhooks); a second one for as long as "
            + "receivers change over.")
    package static let workerShards = Setting(
        "worker.shards", flag: "shards", .text, allowed: "shard numbers and ranges such as 0-3 or 0,2,4-7",
        commands: [.work],
        text: "The shards this worker owns for good; unless set, the pool's workers share all of them out by leases.")
    package static let concurrency = Setting(
        "worker.concurrency", flag: "concurrency", .integer(1...10_000), fallback: String(Defaults.workerConcurrency),
        commands: [.serve, .work],
        text: "Message groups worked on side by side.")
    package static let visibilitySeconds = Setting(
        "worker.visibility-seconds", flag: "visibility-seconds", .integer(2...43_200),
        fallback: String(Defaults.visibilitySeconds),
        commands: [.serve, .work], text: "Visibility timeout of received messages; extended while work goes on.")
    package static let maxAttempts = Setting(
        "worker.max-attempts", flag: "max-attempts", .integer(1...1_000), commands: [.serve, .work],
        text: "Attempts to deliver a message before it goes to the dead-letter queue; 5 unless set. A target that "
            + "cannot be reached costs none, and what the queue delivered before counts. A message that kills its workers "
            + "goes there after twice as many deliveries (at least 5, 20 unless set).")
    package static let retrySeconds = Setting(
        "worker.retry-seconds", flag: "retry-seconds", .integer(0...1_209_600), commands: [.serve, .work],
        text: "Seconds since its first receive before a message goes to the dead-letter queue for its attempts; unless "
            + "set 14400 (4 hours), and 0 if max-attempts is set.")
    package static let graceSeconds = Setting(
        "worker.grace-seconds", flag: "grace-seconds", .integer(0...3_600),
        fallback: String(Defaults.workerGraceSeconds), commands: [.serve, .work],
        text: "Seconds a stop waits for deliveries under way before it releases their messages.")

    package static let metricsListen = Setting(
        "worker.metrics-listen", flag: "metrics-listen", .text,
        allowed: "HOST:PORT or [IPV6]:PORT, port 0...65535 (0 takes a free one)", commands: [.work],
        text: "Address of the worker's /metrics and /healthz; none unless set. With serve --deliver its figures are on "
            + "the server's own /metrics.")
    package static let allowInsecureMetricsListen = Setting(
        "worker.allow-insecure-metrics-listen", flag: "allow-insecure-metrics-listen", .flag, fallback: "false",
        commands: [.work],
        text: "Serve the worker's metrics off loopback although there is neither TLS nor a credential check: whoever "
            + "reaches the port may read them.")

    package static let deliverAllowed =
        "smtp://[USER@]HOST:PORT[?OPTIONS], smtps://[USER@]HOST:PORT[?OPTIONS], http://..., https://..., exec:CMD, "
        + "stdout:, ses:REGION, sendgrid:?key-file=PATH, mailgun:DOMAIN?key-file=PATH, postmark:?key-file=PATH, "
        + "resend:?key-file=PATH, lambda+http(s)://..."
    /// What may stand behind a target, in words.
    static let deliverOptions =
        "Options of a target stand behind it, #OPTION[&OPTION], each once: concurrency=1...10000 deliveries at one time, "
        + "rate=0.001...1000000 messages a second, timeout=1...3600 seconds of one delivery. exec: and stdout: have "
        + "none: what follows is the command."

    /// Every setting, in the order in which it is shown.
    package static let all: [Setting] = [
        .config, .listen, .adminListen, .allowInsecureListen, .requireKeys, .auditLog, .allowedHosts, .maxConnections,
        .maxConnectionsPerAddress,
        .requestBytesMax, .heldBytesMax, .idleTimeout,
        .headerTimeout, .drainSeconds, .idempotencyWindow, .idempotencyBytesMax, .serverDeliver, .tlsCertificate,
        .tlsKey, .tlsClientCA, .tlsClient, .tlsClientNames, .masterKeyFile, .masterKey,
        .masterKeyKMS, .oldMasterKeyFile, .oldMasterKeyKMS,
        .dataDirectory, .control, .awsEndpoint,
        .awsRegion,
        .pools, .maxPools, .maxShards, .waitingBytesTotalMax, .cacheBytesTotalMax,
        .deduplicationEntriesMax,
        .createQueueShards, .quota, .waitingEntriesMax, .waitingBytesMax, .cacheBytes, .bodies, .bodiesThreshold,
        .bodiesLimit, .trackingHours, .trackingBytesMax, .outcomesPool, .injectLatency, .injectErrorRate,
        .endpoint, .tokenFile, .token, .clientTLSCA, .clientTLSCertificate, .clientTLSKey,
        .workerPool, .workerDeliver, .webhookSecretFile, .workerShards, .concurrency, .visibilitySeconds, .maxAttempts,
        .retrySeconds,
        .graceSeconds, .metricsListen, .allowInsecureMetricsListen,
        .logLevel, .logFormat,
    ]

    /// The settings that a command reads.
    package static func of(_ command: SettingReaderCommand) -> [Setting] {
        all.filter { $0.commands.contains(command) }
    }
}
