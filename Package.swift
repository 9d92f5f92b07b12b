// swift-tools-version: 6.2
import PackageDescription

// One list of settings for every target, so that no module is held to a weaker rule than its neighbours.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]

let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let heap = Target.Dependency.product(name: "HeapModule", package: "swift-collections")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let cryptoExtras = Target.Dependency.product(name: "CryptoExtras", package: "swift-crypto")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let signals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")

let package = Package(
    name: "queuepool",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "queuepool", targets: ["queuepool"]),
        .library(name: "QueuePoolWorker", targets: ["QueuePoolWorker"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.0"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-configuration", from: "1.4.0", traits: ["YAML"]),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Declarations of QueuePoolCore, QueuePoolJSON and QueuePoolSQS are `public`, others `package`: the compiler
        // inlines and specializes across modules only what is public, and these three are called for each message. No
        // product has them.
        // 1. Words, limits and decisions: no Foundation, no clock, no task, no I/O.
        .systemLibrary(
            name: "CQueuePoolSQLite", pkgConfig: "sqlite3",
            providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(
            name: "CQueuePoolCurl", pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]),
        .target(name: "CQueuePoolVFS", dependencies: ["CQueuePoolSQLite"]),
        .target(name: "CQueuePoolEpoll"),
        .target(name: "CQueuePoolCommand"),
        .target(name: "CQueuePoolAssets"),
        .target(name: "CQueuePoolDigest"),
        .target(name: "QueuePoolCore", dependencies: [deque, heap], swiftSettings: settings),
        // 2. The wire, the disk, the network.
        .target(name: "QueuePoolJSON", swiftSettings: settings),
        .target(
            name: "QueuePoolSQS", dependencies: ["QueuePoolCore", "QueuePoolJSON", "CQueuePoolDigest", crypto],
            swiftSettings: settings),
        .target(
            name: "QueuePoolEmbedded", dependencies: ["QueuePoolCore", "CQueuePoolSQLite", "CQueuePoolVFS", deque],
            swiftSettings: settings),
        .target(name: "QueuePoolSealing", dependencies: ["QueuePoolCore", crypto], swiftSettings: settings),
        .target(name: "QueuePoolCurl", dependencies: ["CQueuePoolCurl", deque], swiftSettings: settings),
        .target(name: "QueuePoolSigning", dependencies: ["QueuePoolCore", crypto], swiftSettings: settings),
        .target(
            name: "QueuePoolAWS",
            dependencies: [
                "QueuePoolCore", "QueuePoolCurl", "QueuePoolJSON", "QueuePoolSigning", "QueuePoolSQS", crypto, deque,
            ],
            swiftSettings: settings),
        .target(
            name: "QueuePoolEmail", dependencies: ["QueuePoolJSON", crypto, cryptoExtras], swiftSettings: settings),
        // 3. Core's machines on clocks, threads and ports.
        .target(
            name: "QueuePoolRuntime", dependencies: ["QueuePoolCore", "QueuePoolJSON", "QueuePoolSQS"],
            swiftSettings: settings),
        .target(
            name: "QueuePoolSettings",
            dependencies: ["QueuePoolCore", .product(name: "Configuration", package: "swift-configuration")],
            swiftSettings: settings),
        // 4. Doors and programs.
        .target(
            name: "QueuePoolServer",
            dependencies: [
                "QueuePoolRuntime", "QueuePoolSQS", "QueuePoolJSON", "QueuePoolEmail", "QueuePoolCore", crypto, deque,
                "QueuePoolSigning", "CQueuePoolAssets", lifecycle, logging, nioCore, nioPosix, nioSSL,
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            exclude: ["Assets/console.html", "Assets/openapi.json"],
            swiftSettings: settings),
        .target(
            name: "QueuePoolWorker",
            dependencies: [
                "QueuePoolCore", "QueuePoolSQS", "QueuePoolJSON", "QueuePoolEmail", "QueuePoolCurl",
                "QueuePoolRuntime", "CQueuePoolCommand", "CQueuePoolCurl", crypto, deque, lifecycle, logging,
            ],
            swiftSettings: settings),
        .target(
            name: "QueuePoolBench",
            dependencies: [
                "QueuePoolCore", "QueuePoolChecking", "CQueuePoolEpoll",
                .product(name: "Histogram", package: "hdrhistogram-swift"),
            ],
            swiftSettings: settings),
        // 5. The program.
        .executableTarget(
            name: "queuepool",
            dependencies: [
                "QueuePoolCore", "QueuePoolSQS", "QueuePoolEmbedded", "QueuePoolCurl", "QueuePoolAWS",
                "QueuePoolRuntime",
                "QueuePoolServer", "QueuePoolWorker", "QueuePoolBench", "QueuePoolChecking", "QueuePoolSettings",
                "QueuePoolSealing", lifecycle, logging, crypto,
                signals,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings),
        // 6. Tests. The bench judges a run by the checkers that the simulation judges by.
        .target(
            name: "QueuePoolChecking", dependencies: ["QueuePoolCore", deque], path: "Tests/Checking",
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolCheckingTests",
            dependencies: ["QueuePoolChecking", "QueuePoolCore", "QueuePoolTestSupport"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolSimulationTests",
            dependencies: [
                "QueuePoolTestSupport", "QueuePoolChecking", "QueuePoolCore", "QueuePoolEmbedded", "QueuePoolRuntime",
                "QueuePoolAWS", "QueuePoolCurl", "QueuePoolJSON", "QueuePoolSealing", "QueuePoolSQS", crypto, deque,
                heap,
            ],
            path: "Tests/Simulation", exclude: ["Mutations/mutations.md"], swiftSettings: settings),
        .target(name: "CFaultyVFS", dependencies: ["CQueuePoolSQLite"], path: "Tests/Support/CFaultyVFS"),
        .target(
            name: "QueuePoolTestSupport", dependencies: ["QueuePoolCore"], path: "Tests/Support/QueuePoolTestSupport",
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolCoreTests", dependencies: ["QueuePoolCore", "QueuePoolTestSupport"],
            resources: [.copy("vectors.json")],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolJSONTests", dependencies: ["QueuePoolTestSupport", "QueuePoolJSON"], swiftSettings: settings
        ),
        .testTarget(
            name: "QueuePoolSQSTests",
            dependencies: [
                "QueuePoolTestSupport", "QueuePoolSQS", "QueuePoolCore", "QueuePoolJSON", "CQueuePoolDigest",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolBenchTests",
            dependencies: ["QueuePoolTestSupport", "QueuePoolBench", "QueuePoolChecking", "QueuePoolCore"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolSettingsTests",
            dependencies: ["QueuePoolTestSupport", "QueuePoolSettings", "QueuePoolCore"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolCommandTests",
            dependencies: ["QueuePoolTestSupport", "queuepool", "QueuePoolSettings", "QueuePoolServer"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolEmbeddedTests",
            dependencies: ["QueuePoolTestSupport", "QueuePoolEmbedded", "QueuePoolCore", "CFaultyVFS"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolSealingTests",
            dependencies: ["QueuePoolTestSupport", "QueuePoolSealing", "QueuePoolEmbedded", "QueuePoolCore"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolRuntimeTests", dependencies: ["QueuePoolTestSupport", "QueuePoolRuntime", "QueuePoolCore"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolServerTests",
            dependencies: [
                "QueuePoolTestSupport",
                "QueuePoolServer", "QueuePoolEmbedded", "QueuePoolRuntime", "QueuePoolCore", "QueuePoolSQS", crypto,
                nioCore,
                nioSSL,
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolCurlTests", dependencies: ["QueuePoolTestSupport", "QueuePoolCurl"], swiftSettings: settings
        ),
        .testTarget(
            name: "QueuePoolSigningTests", dependencies: ["QueuePoolTestSupport", "QueuePoolSigning", "QueuePoolCore"],
            resources: [.copy("vectors.json")], swiftSettings: settings),
        .testTarget(
            name: "QueuePoolAWSTests",
            dependencies: [
                "QueuePoolTestSupport",
                "QueuePoolAWS", "QueuePoolCurl", "QueuePoolCore", "QueuePoolJSON", "QueuePoolSQS", "QueuePoolEmbedded",
            ],
            resources: [.copy("vectors.json")], swiftSettings: settings),
        .testTarget(
            name: "QueuePoolEmailTests", dependencies: ["QueuePoolTestSupport", "QueuePoolEmail"],
            swiftSettings: settings),
        .testTarget(
            name: "QueuePoolConformanceTests",
            dependencies: [
                "QueuePoolTestSupport", "QueuePoolCore", "QueuePoolEmbedded", "QueuePoolCurl", "QueuePoolAWS",
                "QueuePoolRuntime", "QueuePoolSealing", "QueuePoolServer", "QueuePoolSQS", lifecycle, logging,
            ],
            path: "Tests/Conformance", swiftSettings: settings),
        .testTarget(
            name: "QueuePoolWorkerTests",
            dependencies: [
                "QueuePoolTestSupport", "QueuePoolWorker", "QueuePoolCore", "QueuePoolCurl", lifecycle, logging,
                .product(name: "ServiceLifecycleTestKit", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings),
        // What a program that uses the library looks like; without our settings, as such a program is.
        .executableTarget(
            name: "ExampleWorker", dependencies: ["QueuePoolWorker", lifecycle, logging], path: "Tests/Example"),
    ]
)
// nio-extras carries the bridge between NIO's HTTP parts and swift-http-types that Hummingbird speaks.
package.dependencies.append(.package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"))
